"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from nst.errors import FileError
from nst.io.files import FilePath

Content = bytes | Callable[[IO[bytes]], object]


def write_atomically(path: FilePath, content: Content) -> None:
    """Writes bytes, or what a function writes to the open binary file it is given, to `path`.

    The data goes to a temporary file in the same folder, is synced to disk, and then takes the
    name in one step, so a crash or a full disk leaves the old file as it was. Folders on the way
    are made. Errors: FileError when the file system refuses; whatever the function raises.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:80]}.")
    except OSError as error:
        raise FileError(
            f"cannot be written ({error.strerror or error})", path=str(target)
        ) from error
    try:
        with os.fdopen(handle, "w+b") as file:
            _fill(file, content)
        Path(temporary).chmod(_mode_for(target))
        Path(temporary).replace(target)
    except OSError as error:
        _forget(temporary)
        raise FileError(
            f"cannot be written ({error.strerror or error})", path=str(target)
        ) from error
    except BaseException:
        _forget(temporary)
        raise


def _fill(file: IO[bytes], content: Content) -> None:
    if isinstance(content, bytes):
        file.write(content)
    else:
        content(file)
    file.flush()
    os.fsync(file.fileno())


def _mode_for(target: Path) -> int:
    """Returns the mode of the file replaced, or what a plain open() would have given."""
    with contextlib.suppress(FileNotFoundError):
        return target.stat().st_mode & 0o777
    # The umask cannot be read without being set.
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask


def _forget(temporary: str) -> None:
    with contextlib.suppress(OSError):
        Path(temporary).unlink()
