"""HDF5Output: writes data and labels to an HDF5 file.

Formula   file/data and file/label grow by the bottoms of every forward
Bottoms   data (N, any...), label (N, any...)
Tops      none
Params    hdf5_output_param { file_name: replaced by the first forward }
Gradient  exact: nothing depends on the bottoms
Errors    no file_name (setup); different batch sizes (reshape); a file that cannot be written (forward)
Source    Caffe HDF5OutputLayer, which can write one batch only and aborts on the second
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Arity, Blob, Layer, Shape
from nst.layers.sources.hdf5 import append_rows


class HDF5Output(Layer):
    type = "HDF5Output"
    bottoms = Arity.exactly(2)
    tops = Arity.exactly(0)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.path: str = self.param.hdf5_output_param.file_name
        if not self.path:
            raise self.net_error("hdf5_output_param needs a file_name (got none)")
        self.is_first = True

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        data, label = bottom_shapes
        if data[:1] != label[:1]:
            raise self.shape_error(f"data and label differ in batch size (got {data} and {label})")
        return []

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        rows = {"data": bottom[0].to_host(), "label": bottom[1].to_host()}
        append_rows(self.path, rows, is_new=self.is_first, layer=self.name)
        self.is_first = False

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        for wanted, blob in zip(propagate_down, bottom, strict=True):
            if wanted:
                blob.diff[...] = 0
