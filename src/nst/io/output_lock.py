"""One run per output: a lock file beside it that says who holds it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from nst.errors import FileError
from nst.io.file_lock import take


def lock_path(output: Path) -> Path:
    """The lock file of an output: `.name.lock` beside it."""
    return output.with_name(f".{output.name}.lock")


@contextmanager
def output_held(output: Path) -> Iterator[None]:
    """Holds the output for this process; the system gives it back when the process dies.

    Raises FileError, with the holder's process, machine and start, if another process has it, or if the
    folder cannot be written.
    """
    path = lock_path(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        file = _take_current(path)
    except OSError as error:
        raise FileError(f"cannot be written ({error.strerror or error})", path=str(path)) from error
    with file:
        began = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {began}".encode())
        file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows does not remove what is open
                path.unlink()


def _take_current(path: Path) -> IO[bytes]:
    """The lock file, open and locked, and certainly the one that the name stands for."""
    while True:
        file = path.open("a+b")
        if not take(file):
            file.seek(0)
            holder = file.read(500).decode("utf-8", "replace") or "another process"
            file.close()
            output = path.name.removeprefix(".").removesuffix(".lock")
            raise FileError(
                f"another run writes it ({holder}). Wait for it, or name another output",
                path=str(path.with_name(output)),
            )
        # The last holder may have removed this file between our open and our lock.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()
