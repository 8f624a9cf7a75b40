"""Fetching the weights of known models: verified, and in the cache only when they are right.

The size and the checksums of `models/known.json` decide what is right, never the server. Several
processes may fetch at once: one does, the others wait and find the file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from nst.errors import FileError, WeightsError
from nst.io.download import Part, Patience, Progress, Tell, download
from nst.io.file_lock import locked
from nst.io.known_models import KnownModel, cached_file

_SPARE_DISK = 16 << 20
_DEFAULT_PATIENCE = Patience()


def fetch(
    model: KnownModel,
    cache: Path | None = None,
    *,
    progress: Progress = lambda done, total: None,
    tell: Tell = lambda line: None,
    patience: Patience = _DEFAULT_PATIENCE,
) -> Path:
    """Returns the file of a model's weights, downloaded into the cache unless it is there and right.

    Interrupted, it leaves what has arrived for the next call to go on from. Raises WeightsError if
    the weights cannot be had or are not what they should be, FileError if the cache cannot be
    written.
    """
    target = cached_file(model, cache)
    try:
        if model.shipped_file.is_file():
            verify(model.shipped_file, model)
            return model.shipped_file
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = target.with_name(target.name + ".lock")
        with locked(
            lock, lambda: tell(f"another process is fetching {model.name}; waiting for it")
        ):
            if not _is_right(target, model):
                _fetch_from_any(model, target, progress, tell, patience)
    except FileError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(f"cannot be written ({reason})", path=str(target)) from error
    return target


def verify(path: Path, model: KnownModel) -> None:
    """Raises WeightsError unless a file has the known size and checksums of the weights."""
    size = path.stat().st_size
    if model.bytes and size != model.bytes:
        raise WeightsError(
            f"wrong size (got {size:,} bytes, expected {model.bytes:,})", path=str(path)
        )
    digests = {kind: hashlib.new(kind, usedforsecurity=False) for kind in model.digests}
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            for digest in digests.values():
                digest.update(chunk)
    for kind, expected in model.digests.items():
        got = digests[kind].hexdigest()
        if got != expected:
            raise WeightsError(f"wrong {kind} (got {got}, expected {expected})", path=str(path))


def _fetch_from_any(
    model: KnownModel, target: Path, progress: Progress, tell: Tell, patience: Patience
) -> None:
    """Tries the addresses in order; the last failure is raised, with what to do by hand."""
    part = Part(target.with_name(target.name + ".part"), model.bytes)
    failure = WeightsError(f"no address is known where the weights of {model.name} are")
    for url in model.urls:
        try:
            _fetch_from(url, part, model, progress, tell, patience)
            part.move_to(target)
            return
        except WeightsError as error:
            if url != model.urls[-1]:
                tell(f"{error}; trying the next address")
            failure = error
    raise WeightsError(f"{failure}. If you have the file, put it at {target}") from failure


def _fetch_from(
    url: str, part: Part, model: KnownModel, progress: Progress, tell: Tell, patience: Patience
) -> None:
    _check_disk(part)
    download(url, part, progress, tell, patience)
    if part.stitched and not _is_right(part.path, model):
        tell("what had arrived earlier does not fit the rest; starting over")
        part.forget()
        download(url, part, progress, tell, patience)
    try:
        verify(part.path, model)
    except WeightsError as error:
        part.forget()
        raise WeightsError(f"what arrived is not the file: {error}", path=url) from error
    with part.path.open("rb+") as file:
        os.fsync(file.fileno())


def _is_right(path: Path, model: KnownModel) -> bool:
    if not path.exists():
        return False
    try:
        verify(path, model)
    except WeightsError:
        return False
    return True


def _check_disk(part: Part) -> None:
    folder = part.path.parent
    needed = part.expected - part.size + _SPARE_DISK
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise FileError(
            f"the disk has too little room (got {free:,} bytes free, expected {needed:,})",
            path=str(folder),
        )
