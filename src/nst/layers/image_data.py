"""ImageData: batches of pictures and labels out of picture files.

Tops      data (batch_size, C, H, W), label (batch_size,)
Params    image_data_param { source: text file with `path label` per line  root_folder = "": put before every
          path  batch_size = 1  shuffle = false: a new order every epoch  rand_skip = 0: starts up to this
          many lines in  new_height, new_width = 0: resize to  is_color = true: else grey }
          transform_param { crop_size  mirror  mean_file | mean_value  scale }
Gradient  none is needed
Errors    no list, one of new_height and new_width alone (setup); a picture that cannot be read, pictures of
          several sizes in one batch (forward)
Source    Caffe ImageDataLayer; values B G R, 0-255
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nst.core import Arity, Shape
from nst.layers.batch_source import BatchSource, Values
from nst.layers.sources.lists import read_labelled_list
from nst.layers.sources.pictures import read_picture
from nst.layers.sources.randomness import new_stream, shuffle
from nst.layers.sources.transformer import DataTransformer


class ImageData(BatchSource):
    type = "ImageData"
    tops = Arity.exactly(2)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.image_data_param
        self.size: tuple[int, int] = (p.new_height, p.new_width)
        if (p.new_height > 0) != (p.new_width > 0):
            raise self.net_error(
                "Current implementation requires new_height and new_width to be set at the same "
                f"time. (got {p.new_height} and {p.new_width})"
            )
        self.batch_size = self.positive("batch_size", p.batch_size)
        self.is_color: bool = p.is_color
        self.root = p.root_folder
        self.shuffles: bool = p.shuffle
        rng = self.context.rng
        transform = self.param.transform_param
        self.transformer = DataTransformer(transform, self.phase, rng, layer=self.name)
        self.lines = read_labelled_list(p.source, layer=self.name)
        if self.shuffles:
            self.order_rng = new_stream(rng)
            shuffle(self.order_rng, self.lines)
        skip = int(rng.words(1)[0]) % p.rand_skip if p.rand_skip else 0
        if skip >= len(self.lines):
            raise self.net_error(f"Not enough points to skip (got {len(self.lines)} lines)")
        self.line = skip
        self.first_shape = self.transformer.out_shape(self._read(skip).shape)
        self.transformer.start(rng)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return self.tops_of((self.batch_size, *self.first_shape), self.batch_size)

    def next_batch(self) -> list[Values]:
        pictures, labels = [], []
        for _ in range(self.batch_size):
            pictures.append(self.transformer.transform(self._read(self.line)))
            labels.append(self.lines[self.line][1])
            self.line += 1
            if self.line == len(self.lines):
                self.line = 0
                if self.shuffles:
                    shuffle(self.order_rng, self.lines)
        return [self.transformer.stack(pictures), np.asarray(labels, np.float32)]

    def _read(self, line: int) -> Values:
        """The picture of a line as (C, H, W), 0-255."""
        path = self.root + self.lines[line][0]
        return read_picture(Path(path), is_color=self.is_color, size=self.size)
