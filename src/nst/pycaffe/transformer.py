"""caffe.io.Transformer: a picture (H, W, C) as a net's input blob wants it, and back.

    resize -> transpose -> channel_swap -> raw_scale -> mean -> input_scale

`deprocess` takes the same steps back, last one first, and does not resize.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.errors import ShapeError, UsageError
from nst.pycaffe.resize import resize_image

Array = NDArray[Any]


class Transformer:
    """Preprocessing per input, as caffe.io.Transformer.

        transformer = Transformer({"data": net.blobs["data"].shape})
        transformer.set_transpose("data", (2, 0, 1))           # (H, W, C) to (C, H, W)
        transformer.set_channel_swap("data", (2, 1, 0))        # R, G, B to B, G, R
        transformer.set_raw_scale("data", 255)                 # 0..1 to 0..255
        transformer.set_mean("data", mean)                     # per channel, or (C, H, W)

    Args:
        inputs: shape (N, C, H, W) of every input by name.

    The settings are plain dictionaries by input name, as in pycaffe: `transformer.mean["data"]`.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = {name: tuple(shape) for name, shape in inputs.items()}
        self.transpose: dict[str, tuple[int, ...]] = {}
        self.channel_swap: dict[str, tuple[int, ...]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, Array] = {}
        self.input_scale: dict[str, float] = {}

    def preprocess(self, in_: str, data: Array) -> NDArray[np.float32]:
        """Returns the picture as the input `in_` wants it, a new float32 array; `data` is not changed.

        `data` is (H, W, C); a picture of another size than the input's is resized. Raises UsageError for
        an unknown input, ShapeError for a picture that does not fit.
        """
        self._check_input(in_)
        image: Array = np.array(data, np.float32)
        if image.shape[:2] != self.inputs[in_][2:]:
            image = resize_image(image, self.inputs[in_][2:])
        if in_ in self.transpose:
            image = image.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            image = image[list(self.channel_swap[in_])]
        image = np.ascontiguousarray(image)
        if in_ in self.raw_scale:
            image *= np.float32(self.raw_scale[in_])
        if in_ in self.mean:
            image -= self.mean[in_]
        if in_ in self.input_scale:
            image *= np.float32(self.input_scale[in_])
        return image

    def deprocess(self, in_: str, data: Array) -> NDArray[np.float32]:
        """Returns the picture (H, W, C) that an input array (C, H, W) or (1, C, H, W) shows."""
        self._check_input(in_)
        image: Array = np.array(data, np.float32)
        while image.ndim >= len(self.inputs[in_]) and image.shape[0] == 1:
            image = image[0]
        if in_ in self.input_scale:
            image /= np.float32(self.input_scale[in_])
        if in_ in self.mean:
            image += self.mean[in_]
        if in_ in self.raw_scale:
            image /= np.float32(self.raw_scale[in_])
        if in_ in self.channel_swap:
            image = image[np.argsort(self.channel_swap[in_])]
        if in_ in self.transpose:
            image = image.transpose(np.argsort(self.transpose[in_]))
        return image

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Sets the order of the picture's axes in the input; (2, 0, 1) for (H, W, C) to (C, H, W)."""
        self._check_input(in_)
        if sorted(order) != list(range(len(self.inputs[in_]) - 1)):
            raise UsageError(
                "Transpose order needs to have the same number of dimensions as the input. "
                f"(got {tuple(order)}, expected an order of {len(self.inputs[in_]) - 1} axes)"
            )
        self.transpose[in_] = tuple(order)

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Sets the order of the channels; (2, 1, 0) for R, G, B to B, G, R."""
        self._check_input(in_)
        if sorted(order) != list(range(self.inputs[in_][1])):
            raise UsageError(
                "Channel swap needs to have the same number of dimensions as the input channels. "
                f"(got {tuple(order)}, expected an order of {self.inputs[in_][1]} channels)"
            )
        self.channel_swap[in_] = tuple(order)

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Sets the factor before the mean: 255 if the net was trained on 0..255 and load_image gives 0..1."""
        self._check_input(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: Array) -> None:
        """Sets what is subtracted: (C,) per channel, (H, W), or (C, H, W) in the net's channel order.

        A mean picture of another size is resized to the input. Raises ShapeError for other channels.
        """
        self._check_input(in_)
        mean = np.asarray(mean)
        channels, size = self.inputs[in_][1], self.inputs[in_][2:]
        if mean.ndim == 1:
            mean = mean[:, np.newaxis, np.newaxis]
        elif mean.ndim == 2:
            mean = mean[np.newaxis]
        if mean.ndim != 3:
            raise ShapeError(f"Mean shape invalid. (got {mean.shape}, expected (C,) or (C, H, W))")
        if mean.shape[0] not in (1, channels):
            raise ShapeError(
                f"Mean channels incompatible with input. (got {mean.shape[0]}, expected {channels})"
            )
        if mean.shape[1:] not in ((1, 1), size):
            mean = resize_image(mean.transpose(1, 2, 0), size).transpose(2, 0, 1)
        self.mean[in_] = mean

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Sets the factor after the mean."""
        self._check_input(in_)
        self.input_scale[in_] = scale

    def _check_input(self, in_: str) -> None:
        if in_ not in self.inputs:
            raise UsageError(f"{in_} is not one of the net inputs: {self.inputs}")
