"""Lists of pictures with labels, one `path label` per line, and the pictures as Caffe reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nst.errors import FileError
from nst.layers.sources.lists import read_labelled_list
from nst.layers.sources.pictures import read_picture
from nst.proto import Datum


def read_picture_list(path: Path) -> list[tuple[str, int]]:
    """(path, label) of every line; raises FileError, NetError that names the wrong line."""
    if not path.is_file():
        raise FileError("no such list of pictures", path=str(path))
    return read_labelled_list(str(path), layer="")


def read_values(path: Path, *, gray: bool, size: tuple[int, int]) -> NDArray[Any]:
    """uint8 (C, H, W), B G R; `size` (rows, columns) resizes, (0, 0) does not. Raises ImageError."""
    return read_picture(path, is_color=not gray, size=size)


def datum_of(values: NDArray[Any], label: int) -> Datum:
    """The record of raw values (C, H, W)."""
    channels, height, width = values.shape
    return Datum(channels=channels, height=height, width=width, data=values.tobytes(), label=label)
