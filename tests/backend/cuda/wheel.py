"""Where the wheel of cuDNN is, for the tests that need it: half a gigabyte that is no requirement."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest


def cudnn_wheel() -> Path:
    """The folder below which nvidia/cudnn lies: `NST_CUDNN_WHEELS`, else the installed one; skips without."""
    spec = importlib.util.find_spec("nvidia")
    installed = (
        [Path(place).parent for place in (spec.submodule_search_locations or [])] if spec else []
    )
    chosen = os.environ.get("NST_CUDNN_WHEELS")
    for folder in [Path(chosen)] if chosen else installed:
        if (folder / "nvidia/cudnn/lib").is_dir():
            return folder
    pytest.skip(
        "needs cuDNN's wheel (pip install --target FOLDER nvidia-cudnn-cu13, NST_CUDNN_WHEELS=FOLDER)"
    )
