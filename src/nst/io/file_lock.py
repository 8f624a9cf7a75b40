"""A lock between processes: held while a file is open, released by the system when its holder dies."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from nst.errors import FileError

_POLL_SECONDS = 0.2


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Holds the lock on `path`, a file of its own, for one process at a time.

    `waiting` is called once if another process has it. The file stays: removing it would let a
    third process lock a new one while a second holds the old. Raises FileError if the file cannot
    be made.
    """
    try:
        file = path.open("ab")
    except OSError as error:
        raise FileError(f"cannot be written ({error.strerror or error})", path=str(path)) from error
    with file:
        told = False
        while not take(file):
            if not told:
                waiting()
                told = True
            time.sleep(_POLL_SECONDS)
        yield


if sys.platform == "win32":
    import msvcrt

    def take(file: IO[bytes]) -> bool:
        """Locks an open file for this process; returns False if another one holds it."""
        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def take(file: IO[bytes]) -> bool:
        """Locks an open file for this process; returns False if another one holds it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
