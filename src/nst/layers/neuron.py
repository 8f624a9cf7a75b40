"""Neuron: base of the layers that map every value by itself, in place if wanted.

In place the top overwrites the bottom. A layer whose gradient needs the bottom's old values asks for them
with `remember` going forward and gets them with `recall` going backward; a copy is kept only in that case.
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import Blob, Layer, Shape


class Neuron(Layer):
    """One bottom, one top of the same shape; Caffe's NeuronLayer."""

    allows_in_place = True
    _memory: Blob | None = None

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        return None

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return [bottom_shapes[0]]

    def remember(self, bottom: Blob, top: Blob) -> Array:
        """Returns the bottom's values; copies them if the top is about to overwrite them."""
        if top.data_memory is not bottom.data_memory:
            self._memory = None
            return bottom.data
        if self._memory is None:
            self._memory = self.new_blob()
        self._memory.reshape(*bottom.shape)
        self._memory.data[...] = bottom.data
        return self._memory.data

    def recall(self, bottom: Blob) -> Array:
        """Returns what the bottom held when `remember` was called."""
        return bottom.data if self._memory is None else self._memory.data
