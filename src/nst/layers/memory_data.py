"""MemoryData: batches out of an array that the caller hands over.

Tops      data (batch_size, channels, height, width), label (batch_size,)
Params    memory_data_param { batch_size  channels  height  width }; transform_param for `add_pictures`
Gradient  none is needed
Errors    an extent missing (setup); no data yet (forward); arrays that do not fit (`set_data`)
Source    Caffe MemoryDataLayer; `set_data` is Reset, pycaffe's set_input_arrays
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.core import Arity, Shape
from nst.layers.batch_source import BatchSource, Values
from nst.layers.sources.transformer import DataTransformer


class MemoryData(BatchSource):
    type = "MemoryData"
    tops = Arity.exactly(2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.memory_data_param
        self.shape: Shape = (p.batch_size, p.channels, p.height, p.width)
        if min(self.shape) < 1:
            raise self.net_error(
                "batch_size, channels, height, and width must be specified and positive in "
                f"memory_data_param (got {self.shape})"
            )
        self.transformer = DataTransformer(
            self.param.transform_param, self.phase, self.context.rng, layer=self.name
        )
        self.data: Values = np.empty((0, *self.shape[1:]), np.float32)
        self.labels: Values = np.empty((0,), np.float32)
        self.position = 0

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return [self.shape, self.shape[:1]]

    def next_batch(self) -> list[Values]:
        if not len(self.data):
            raise self.net_error(
                "MemoryDataLayer needs to be initialized (got no data). Call set_data first"
            )
        batch = slice(self.position, self.position + self.shape[0])
        self.position = batch.stop % len(self.data)
        return [self.data[batch], self.labels[batch]]

    def set_data(self, data: NDArray[Any], labels: NDArray[Any]) -> None:
        """Takes (n, channels, height, width) values and n labels; n must be a multiple of batch_size.

        The arrays are kept, not copied. Raises ShapeError for arrays that do not fit.
        """
        labels = np.asarray(labels).reshape(-1)
        if data.shape[1:] != self.shape[1:] or len(labels) != len(data):
            raise self.shape_error(
                f"data and labels do not fit (got {data.shape} and {len(labels)} labels, expected "
                f"(n, {', '.join(str(size) for size in self.shape[1:])}) and n)"
            )
        if not len(data) or len(data) % self.shape[0]:
            raise self.shape_error(
                f"the number of examples must be a multiple of batch_size "
                f"(got {len(data)}, batch_size {self.shape[0]})"
            )
        self.data, self.labels, self.position = data, labels, 0

    def add_pictures(self, pictures: Sequence[NDArray[Any]], labels: Sequence[int]) -> None:
        """Takes (channels, height, width) pictures through transform_param; otherwise like set_data."""
        transformed = [self.transformer.transform(picture) for picture in pictures]
        self.set_data(np.stack(transformed), np.asarray(labels, np.float32))
