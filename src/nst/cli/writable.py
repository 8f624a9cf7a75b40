"""Whether a file can be written, asked before the long work whose result it is to hold."""

from __future__ import annotations

import tempfile
from pathlib import Path

from nst.errors import FileError


def check_writable(path: Path) -> None:
    """Raises FileError if writing `path` would fail now; folders on the way may be missing."""
    if path.is_dir():
        raise FileError("is a folder, not a file", path=str(path))
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        # Only writing tells: read-only mounts and access lists do not show in the mode bits.
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".nst-"):
            pass
    except OSError as error:
        raise FileError(f"cannot be written here ({error.strerror})", path=str(path)) from error
