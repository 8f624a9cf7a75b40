"""Style statistics on disk: one HDF5 file of arrays by content, and entries that name them.

    /arrays/<sha256>    the values; equal arrays of several entries are stored once
    /entries/<key>      JSON as bytes: what the entry is about, and its arrays: name -> sha256

The key says what the statistics were computed from; who computes them makes it. Every change is written to a
copy that takes the file's name when it is whole, so a kill or a full disk leaves the library as it was. Reads
check every array against its hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nst.errors import FileError
from nst.io.atomic import write_atomically
from nst.io.file_lock import locked
from nst.io.files import FilePath
from nst.io.hdf5 import DAMAGED
from nst.io.signature import HDF5, looks_like

Array = NDArray[Any]

_ARRAYS, _ENTRIES = "arrays", "entries"


@dataclass(frozen=True)
class LibraryEntry:
    """One entry: its key, what it is about, and the arrays it names."""

    key: str
    about: Mapping[str, Any]
    arrays: Mapping[str, str]
    """Name -> SHA-256 of the values."""


class StyleLibrary:
    """The library in a file, which need not exist yet. Raises FileError for one that cannot be read."""

    def __init__(self, path: FilePath) -> None:
        self.path = Path(path)
        if self.path.exists():
            self.entries()

    def entries(self) -> list[LibraryEntry]:
        """All entries, by key."""
        if not self.path.exists():
            return []
        with self._opened() as file:
            return [_entry(key, file) for key in sorted(file[_ENTRIES])]

    def get(self, key: str) -> dict[str, Array] | None:
        """The arrays of an entry, None if there is no such entry. FileError if they are damaged."""
        if not self.path.exists():
            return None
        with self._opened() as file:
            if key not in file[_ENTRIES]:
                return None
            entry = _entry(key, file)
            return {name: self._array(file, digest) for name, digest in entry.arrays.items()}

    def put(self, key: str, arrays: Mapping[str, Array], about: Mapping[str, Any]) -> None:
        """Adds an entry, or replaces the one of that key."""

        def change(file: h5py.File) -> None:
            names = {}
            for name, array in arrays.items():
                array = np.ascontiguousarray(array)
                names[name] = digest = digest_of(array)
                if digest in file[_ARRAYS] and not _is_whole(file[_ARRAYS], digest):
                    del file[_ARRAYS][digest]
                if digest not in file[_ARRAYS]:
                    file[_ARRAYS].create_dataset(digest, data=array)
            if key in file[_ENTRIES]:
                del file[_ENTRIES][key]
            text = json.dumps({"about": dict(about), "arrays": names}, sort_keys=True)
            file[_ENTRIES].create_dataset(key, data=np.frombuffer(text.encode(), np.uint8))

        self._change(change)

    def remove(self, keys: Collection[str]) -> None:
        """Removes entries; `optimize` gives their space back."""

        def change(file: h5py.File) -> None:
            for key in keys:
                if key in file[_ENTRIES]:
                    del file[_ENTRIES][key]

        self._change(change)

    def verify(self) -> list[str]:
        """What is wrong, one line each; empty if every array is what its hash says."""
        problems = []
        with self._opened() as file:
            arrays = file[_ARRAYS]
            good = {digest: _is_whole(arrays, digest) for digest in arrays}
            for key in sorted(file[_ENTRIES]):
                try:
                    entry = _entry(key, file)
                except DAMAGED as error:
                    problems.append(f"entry {key[:12]}: unreadable ({error})")
                    continue
                problems += [
                    f"entry {key[:12]} ({label(entry)}): {name} is {_state(good, digest)}"
                    for name, digest in entry.arrays.items()
                    if not good.get(digest)
                ]
        return problems

    def optimize(self) -> tuple[int, int]:
        """Rewrites the file with what is whole and in use, compressed; returns its bytes before and after."""
        before = self.path.stat().st_size
        with self._locked(), self._opened() as old:
            write_atomically(self.path, lambda file: _repack(old, file))
        return before, self.path.stat().st_size

    # ---- the file ------------------------------------------------------------------------------

    def _array(self, file: h5py.File, digest: str) -> Array:
        try:
            array = np.asarray(file[_ARRAYS][digest][()])
        except DAMAGED as error:
            raise self._damaged(error) from error
        if digest_of(array) != digest:
            raise self._damaged(f"the values of {digest[:12]} are not what was written")
        return array

    def _change(self, change: Callable[[h5py.File], None]) -> None:
        with self._locked():
            write_atomically(self.path, lambda file: self._changed_copy(file, change))

    def _changed_copy(self, file: IO[bytes], change: Callable[[h5py.File], None]) -> None:
        is_new = not self.path.exists()
        if not is_new:
            with self.path.open("rb") as old:
                shutil.copyfileobj(old, file)
        try:
            with h5py.File(file, "w" if is_new else "r+") as target:
                for name in (_ARRAYS, _ENTRIES):
                    target.require_group(name)
                change(target)
        except OSError:
            raise
        except DAMAGED as error:
            raise self._damaged(error) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds the library against other writers, who wait."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self.path.with_name(f".{self.path.name}.lock")
        with locked(lock, lambda: None):
            yield

    @contextmanager
    def _opened(self) -> Iterator[h5py.File]:
        try:
            with self.path.open("rb") as head:
                start = head.read(256)
            if not start.startswith(HDF5):
                raise FileError(
                    f"no style library: it looks like {looks_like(start) or 'something else'}",
                    path=os.fspath(self.path),
                )
            with h5py.File(self.path, "r") as file:
                if _ENTRIES not in file or _ARRAYS not in file:
                    raise FileError("an HDF5 file, but no style library", path=os.fspath(self.path))
                yield file
        except FileError:
            raise
        except DAMAGED as error:
            raise self._damaged(error) from error

    def _damaged(self, error: object) -> FileError:
        return FileError(f"the style library is damaged ({error})", path=os.fspath(self.path))


def digest_of(array: Array) -> str:
    """SHA-256 over dtype, shape and values."""
    total = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def label(entry: LibraryEntry) -> str:
    """What an entry is called in lists: the style, its size, the net."""
    about = entry.about
    return f"{about.get('style', '?')} at {about.get('size', '?')}, {about.get('net', '?')}"


def _entry(key: str, file: h5py.File) -> LibraryEntry:
    values = json.loads(np.asarray(file[_ENTRIES][key][()], np.uint8).tobytes())
    return LibraryEntry(key, values["about"], values["arrays"])


def _is_whole(arrays: h5py.Group, digest: str) -> bool:
    try:
        return digest_of(np.asarray(arrays[digest][()])) == digest
    except DAMAGED:
        return False


def _state(good: Mapping[str, bool], digest: str) -> str:
    return "damaged" if digest in good else "missing"


def _repack(old: h5py.File, file: IO[bytes]) -> None:
    """Copies every entry whose arrays are all whole."""
    with h5py.File(file, "w", libver="latest") as target:
        arrays, entries = target.create_group(_ARRAYS), target.create_group(_ENTRIES)
        for key in sorted(old[_ENTRIES]):
            try:
                used = set(_entry(key, old).arrays.values())
            except DAMAGED:
                continue
            if not all(
                digest in old[_ARRAYS] and _is_whole(old[_ARRAYS], digest) for digest in used
            ):
                continue
            for digest in sorted(used - set(arrays)):
                values = np.asarray(old[_ARRAYS][digest][()])
                packed = {"compression": "gzip", "shuffle": True} if values.ndim else {}
                arrays.create_dataset(digest, data=values, **packed)
            entries.create_dataset(key, data=old[_ENTRIES][key][()])
