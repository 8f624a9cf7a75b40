"""HDF5Data: batches out of HDF5 files, one data set per top, named like the top.

Tops      one or more: (batch_size, any...) as in the files
Params    hdf5_data_param { source: text file with one HDF5 path per line  batch_size  shuffle = false: new
          order of files and of rows, each time round }
Gradient  none is needed
Errors    no list, an empty list, a transform_param (setup); a file or data set missing, data sets of unequal
          length (when the file is opened)
Source    Caffe HDF5DataLayer; its shuffling uses the C library's random numbers, this one the net's
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nst.core import Arity, Shape
from nst.layers.batch_source import BatchSource, Values
from nst.layers.sources.hdf5 import read_rows
from nst.layers.sources.lists import read_list


class HDF5Data(BatchSource):
    type = "HDF5Data"
    tops = Arity.at_least(1)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.hdf5_data_param
        if self.param.HasField("transform_param"):
            raise self.net_error("HDF5Data does not transform data (got a transform_param)")
        self.batch_size = self.positive("batch_size", p.batch_size)
        self.shuffles: bool = p.shuffle
        self.files = read_list(p.source, layer=self.name)
        self.file_order = list(range(len(self.files)))
        if self.shuffles:
            self.context.rng.shuffle(self.file_order)
        self.file = 0
        self._open()

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return [(self.batch_size, *rows.shape[1:]) for rows in self.rows]

    def next_batch(self) -> list[Values]:
        batch: list[list[Values]] = []
        for _ in range(self.batch_size):
            picked = self.row_order[self.row]
            batch.append([rows[picked] for rows in self.rows])
            self._advance()
        return [np.stack(values) for values in zip(*batch, strict=True)]

    def _advance(self) -> None:
        """Goes to the next row; after the last of a file to the next file, round and round."""
        self.row += 1
        if self.row < len(self.row_order):
            return
        if len(self.files) > 1:
            self.file = (self.file + 1) % len(self.files)
            if self.file == 0 and self.shuffles:
                self.context.rng.shuffle(self.file_order)
            self._open()
        else:
            self._start_rows()

    def _open(self) -> None:
        path = self.files[self.file_order[self.file]]
        self.rows = read_rows(path, list(self.param.top), layer=self.name)
        self._start_rows()

    def _start_rows(self) -> None:
        self.row = 0
        self.row_order = list(range(len(self.rows[0])))
        if self.shuffles:
            self.context.rng.shuffle(self.row_order)
