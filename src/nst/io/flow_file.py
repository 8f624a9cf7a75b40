"""Optical flow on disk: Middlebury's .flo, and .npy.

A flow is float32 (H, W, 2): how far the pixel (y, x) moves to the right and down, in pixels. Where it is
unknown it is NaN, or in a .flo file larger than 1e9, which is read as NaN.

.flo: the float 202021.25, the int32 width and height, then the pairs row by row; all little-endian.
Source: Baker et al. 2011, A Database and Evaluation Methodology for Optical Flow; vision.middlebury.edu/flow.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nst.errors import FileError, UsageError
from nst.io.atomic import write_atomically
from nst.io.files import read_bytes

Flow = npt.NDArray[np.float32]

SUFFIXES = (".flo", ".npy")

_TAG = np.array([202021.25], "<f4").tobytes()
_UNKNOWN = 1e9
_LARGEST_SIDE = 1 << 16


def read_flow(path: str | Path) -> Flow:
    """Reads (H, W, 2) from a .flo or .npy file; raises FileError if it is missing, damaged or no flow."""
    path = Path(path)
    data = read_bytes(path, FileError)
    if _kind(path) == ".npy":
        return _from_npy(data, path)
    if len(data) < 12 or data[:4] != _TAG:
        raise FileError("no flow: the tag of a .flo file is missing", path=str(path))
    width, height = (int(side) for side in np.frombuffer(data, "<i4", 2, 4))
    if not (0 < width < _LARGEST_SIDE and 0 < height < _LARGEST_SIDE):
        raise FileError(f"no flow: impossible size (got {width}x{height})", path=str(path))
    expected = 12 + 8 * width * height
    if len(data) != expected:
        raise FileError(
            f"cut short or too long (got {len(data)} bytes, expected {expected} for "
            f"{width}x{height})",
            path=str(path),
        )
    values = np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)
    return np.where(np.abs(values) > _UNKNOWN, np.float32(np.nan), values)


def write_flow(path: str | Path, flow: Flow) -> None:
    """Writes (H, W, 2), unknown places as NaN, as the suffix says. Raises FileError, UsageError."""
    path = Path(path)
    if flow.ndim != 3 or flow.shape[2] != 2 or min(flow.shape) < 1:
        raise UsageError(f"flow: got shape {flow.shape}, expected (height, width, 2)")
    if _kind(path) == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, flow.astype(np.float32), allow_pickle=False)
        write_atomically(path, buffer.getvalue())
        return
    height, width = flow.shape[:2]
    values = np.where(np.isnan(flow), 10 * _UNKNOWN, flow).astype("<f4")
    write_atomically(path, _TAG + np.array([width, height], "<i4").tobytes() + values.tobytes())


def _from_npy(data: bytes, path: Path) -> Flow:
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise FileError(f"no flow: damaged ({error})", path=str(path)) from error
    if values.ndim != 3 or values.shape[2] != 2 or values.dtype.kind != "f":
        raise FileError(
            f"no flow (got {values.dtype} {values.shape}, expected floats (height, width, 2))",
            path=str(path),
        )
    return np.asarray(values, np.float32)


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise FileError(
            f"no format of flow (got {suffix!r}, expected .flo or .npy)", path=str(path)
        )
    return suffix
