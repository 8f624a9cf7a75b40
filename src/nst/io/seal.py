"""Files that can tell whether they are whole: the last bytes are the SHA-256 of all bytes before them.

The seal is written as a field of a protobuf message (number 10005, 32 bytes), so a sealed message is still a
message, and HDF5 does not look behind its own end: a sealed file reads like one without a seal.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import IO

from nst.errors import SnapshotError
from nst.io.files import FilePath, cannot_read
from nst.io.wire import length_prefix

_FIELD = 10005
_DIGEST_BYTES = 32
_PREFIX = length_prefix(_FIELD, _DIGEST_BYTES)
_SEAL_BYTES = len(_PREFIX) + _DIGEST_BYTES
_READ_BYTES = 1 << 20


def append_seal(file: IO[bytes]) -> None:
    """Seals an open file ("w+b") that holds all its content."""
    file.flush()
    digest = _digest(file, file.seek(0, os.SEEK_END))
    file.seek(0, os.SEEK_END)
    file.write(_PREFIX + digest)


def check_seal(path: FilePath) -> None:
    """Raises SnapshotError unless the file ends in the seal of its content."""
    name = os.fspath(path)
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, os.SEEK_END) - _SEAL_BYTES
            if size < 0:
                raise SnapshotError("cut short, or no snapshot of a style run", path=name)
            file.seek(size)
            seal = file.read(_SEAL_BYTES)
            if not seal.startswith(_PREFIX):
                raise SnapshotError("cut short, or no snapshot of a style run", path=name)
            if seal[len(_PREFIX) :] != _digest(file, size):
                raise SnapshotError("damaged: its content is not what was written", path=name)
    except OSError as error:
        raise cannot_read(path, error, SnapshotError) from error


def _digest(file: IO[bytes], size: int) -> bytes:
    """SHA-256 of the first `size` bytes."""
    file.seek(0)
    total = hashlib.sha256()
    while size > 0 and (chunk := file.read(min(size, _READ_BYTES))):
        total.update(chunk)
        size -= len(chunk)
    return total.digest()
