"""Versions of this package and of what it stands on."""

from __future__ import annotations

import platform
import re
from importlib import metadata
from pathlib import Path

_LIBRARIES = ("numpy", "protobuf", "pillow", "h5py")
_OPTIONAL = ("cupy-cuda12x", "cupy-cuda13x", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13")
EXTRAS = {
    "draw": "pydot",
    "plot": "matplotlib",
    "lmdb": "lmdb",
    "flow": "opencv-python-headless",
}
"""Extra of the package -> the library that it brings."""


def nst_version() -> str:
    """The version of this source tree, which may be another than the one that is installed."""
    text = (Path(__file__).parents[1] / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"', text, re.MULTILINE)
    return found.group(1) if found else "unknown"


def version_of(distribution: str) -> str | None:
    """The installed version, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """What took part in a run: nst, Python, the libraries, those of the GPU if they are there."""
    found = {"nst": nst_version(), "python": platform.python_version()}
    for name in (*_LIBRARIES, *_OPTIONAL):
        version = version_of(name)
        if version or name in _LIBRARIES:
            found[name] = version or "not installed"
    return found
