"""What a path may be, and reading a file whole with an error that names it."""

from __future__ import annotations

import os
from pathlib import Path

from nst.errors import FileError, SnapshotError, WeightsError

FilePath = str | os.PathLike[str]


def read_bytes(
    path: FilePath, error: type[FileError | SnapshotError | WeightsError] = FileError
) -> bytes:
    """Returns the content of the file; raises `error` with the system's reason when it cannot."""
    try:
        return Path(path).read_bytes()
    except OSError as reason:
        raise cannot_read(path, reason, error) from reason


def cannot_read(
    path: FilePath,
    reason: OSError,
    error: type[FileError | SnapshotError | WeightsError] = FileError,
) -> FileError | SnapshotError | WeightsError:
    """Returns the error for a file that the system refuses to read."""
    return error(f"cannot be read ({reason.strerror or reason})", path=os.fspath(path))
