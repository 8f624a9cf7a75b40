"""caffe.Classifier: pictures in, class probabilities out, averaged over crops."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.core import TEST
from nst.errors import ShapeError, UsageError
from nst.pycaffe.io import oversample as ten_crops
from nst.pycaffe.net import Net, NetSource
from nst.pycaffe.resize import resize_image
from nst.pycaffe.transformer import Transformer

Array = NDArray[Any]


class Classifier(Net):
    """A deploy net with one input and one output, and the preprocessing of its input.

        classifier = Classifier("deploy.prototxt", "w.caffemodel", mean=mean, raw_scale=255,
                                channel_swap=(2, 1, 0), image_dims=(256, 256))
        probabilities = classifier.predict([load_image("cat.jpg")])        # (pictures, classes)

    Args:
        model_file, pretrained_file: the net and its weights.
        image_dims: (height, width) that pictures are brought to before cropping; the input's own if None.
        mean, input_scale, raw_scale, channel_swap: as in `Transformer`; pictures are transposed to (C, H, W).
        options: further ones of `Net`, such as backend.
    """

    def __init__(
        self,
        model_file: NetSource,
        pretrained_file: str | PathLike[str],
        image_dims: Sequence[int] | None = None,
        mean: Array | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model_file, phase=TEST, weights=pretrained_file, **options)
        self.transformer = input_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = self.blobs[self.inputs[0]].shape[2:]
        self.image_dims = self.crop_dims if image_dims is None else tuple(image_dims)

    def predict(self, inputs: Iterable[Array], oversample: bool = True) -> Array:
        """Returns the net's output per picture (H, W, C), RGB, 0 to 1: an array (pictures, classes).

        With `oversample` the mean over ten crops, else of the centre alone.
        """
        pictures = [resize_image(picture, self.image_dims) for picture in inputs]
        if not pictures:
            raise UsageError("predict: no pictures (got an empty list)")
        if oversample:
            crops = list(ten_crops(pictures, self.crop_dims))
        else:
            crops = [_centre(picture, self.crop_dims) for picture in pictures]
        name = self.inputs[0]
        batch = np.stack([self.transformer.preprocess(name, crop) for crop in crops])
        predictions: Array = self.forward_all(**{name: batch})[self.outputs[0]]
        if oversample:
            predictions = predictions.reshape(len(pictures), 10, -1).mean(axis=1)
        return predictions


def _centre(picture: Array, size: Sequence[int]) -> Array:
    """The middle of the picture; raises ShapeError when it is not in there."""
    top, left = ((have - want) // 2 for have, want in zip(picture.shape, size, strict=False))
    if min(top, left) < 0:
        raise ShapeError(f"image_dims: got {picture.shape[:2]}, expected at least {tuple(size)}")
    return picture[top : top + size[0], left : left + size[1]]


def input_transformer(
    net: Net,
    mean: Array | None,
    input_scale: float | None,
    raw_scale: float | None,
    channel_swap: Sequence[int] | None,
) -> Transformer:
    """The transformer of the net's only input, for pictures (H, W, C); None leaves a step out."""
    if len(net.inputs) != 1:
        raise UsageError(f"net '{net.name}': got inputs {net.inputs}, expected exactly one")
    name = net.inputs[0]
    transformer = Transformer({name: net.blobs[name].shape})
    transformer.set_transpose(name, (2, 0, 1))
    if mean is not None:
        transformer.set_mean(name, mean)
    if input_scale is not None:
        transformer.set_input_scale(name, input_scale)
    if raw_scale is not None:
        transformer.set_raw_scale(name, raw_scale)
    if channel_swap is not None:
        transformer.set_channel_swap(name, channel_swap)
    return transformer
