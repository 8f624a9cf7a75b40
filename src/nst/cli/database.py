"""LMDB databases of Datum records as whole files: all records in order, or a new one (the extra `lmdb`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from nst.errors import FileError, UsageError

_START_SIZE = 1 << 30
_BATCH = 1000


def import_lmdb() -> Any:
    """The package lmdb; raises UsageError with the command that installs it."""
    try:
        import lmdb
    except ImportError:
        raise UsageError(
            "LMDB needs the package lmdb. Run: pip install 'nst-caffe[lmdb]'"
        ) from None
    return lmdb


def count_records(path: Path) -> int:
    """How many records a database has; raises FileError if it cannot be opened."""
    with _opened(path) as environment:
        entries: int = environment.stat()["entries"]
    return entries


def records(path: Path) -> Iterator[bytes]:
    """The values of all records, in the order of their keys."""
    with _opened(path) as environment, environment.begin() as transaction:
        for _, value in transaction.cursor():
            yield bytes(value)


def _opened(path: Path) -> Any:
    lmdb = import_lmdb()
    try:
        return lmdb.open(str(path), readonly=True, lock=False, subdir=path.is_dir(), create=False)
    except lmdb.Error as error:
        raise FileError(f"cannot be opened as a database ({error})", path=str(path)) from error


class RecordWriter:
    """Writes a new database; one that exists already is refused. Use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self._lmdb = import_lmdb()
        if path.exists():
            raise FileError("exists already; a database is never overwritten", path=str(path))
        try:
            path.mkdir(parents=True)
            self._environment = self._lmdb.open(str(path), map_size=_START_SIZE)
        except (OSError, self._lmdb.Error) as error:
            raise FileError(f"cannot be made ({error})", path=str(path)) from error
        self._path = path
        self._pending: list[tuple[bytes, bytes]] = []

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._commit()
        self._environment.close()

    def put(self, key: str, record: bytes) -> None:
        """Adds a record; keys decide the order."""
        self._pending.append((key.encode(), record))
        if len(self._pending) == _BATCH:
            self._commit()

    def _commit(self) -> None:
        """Writes what is pending, with more room if there is too little."""
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, record in self._pending:
                        transaction.put(key, record)
                self._pending = []
                return
            except self._lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
            except self._lmdb.Error as error:
                raise FileError(f"cannot be written ({error})", path=str(self._path)) from error
