"""What one size hands to the next: the moments of a first-order rule, enlarged like the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.io.resample import resize


def resize_moment(moment: NDArray[Any], size: tuple[int, ...]) -> NDArray[np.float32]:
    """A moment (1, C, H, W) at `size` = (height, width).

    Means of the gradient are enlarged like the picture, by cubic interpolation; mean squares linearly, which
    keeps them from going below zero (as crowsonkb/style-transfer-pytorch does).
    """
    height, width = size
    planes = np.ascontiguousarray(moment[0].transpose(1, 2, 0), np.float32)
    is_square = bool((planes >= 0).all())
    method = "bilinear" if is_square else "bicubic"
    enlarged = resize(planes, (height, width), method=method, limits=None)
    return np.ascontiguousarray(enlarged.transpose(2, 0, 1)[None])
