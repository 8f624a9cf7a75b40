"""Neuron: base of the layers that map every value by itself, in place if wanted.

In place the top overwrites the bottom, and a later layer may overwrite the top. A layer whose gradient needs
the old values asks for them with `remember` or `remember_output` going forward and gets them with `recall` or
`recall_output` going backward; a copy is kept only in those cases. (Caffe keeps none and goes wrong.)
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import Blob, Layer, Shape


class Neuron(Layer):
    """One bottom, one top of the same shape; Caffe's NeuronLayer."""

    allows_in_place = True
    _input: Blob | None = None
    _output: Blob | None = None

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        return None

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return [bottom_shapes[0]]

    def remember(self, bottom: Blob, top: Blob) -> Array:
        """Returns the bottom's values; copies them if the top is about to overwrite them."""
        is_in_place = top.data_memory is bottom.data_memory
        self._input = self._copy(self._input, bottom) if is_in_place else None
        return bottom.data if self._input is None else self._input.data

    def recall(self, bottom: Blob) -> Array:
        """Returns what the bottom held when `remember` was called."""
        return bottom.data if self._input is None else self._input.data

    def remember_output(self, top: Blob) -> None:
        """Copies the top's values if a later layer is going to overwrite them."""
        self._output = self._copy(self._output, top) if self.top_is_overwritten else None

    def recall_output(self, top: Blob) -> Array:
        """Returns what the top held when `remember_output` was called."""
        return top.data if self._output is None else self._output.data

    def _copy(self, into: Blob | None, source: Blob) -> Blob:
        copy = self.new_blob() if into is None else into
        copy.reshape(*source.shape)
        copy.data[...] = source.data
        return copy
