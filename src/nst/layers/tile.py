"""Tile: repeats a blob along one axis.

Formula   y = x, x, ... along the axis;  dx = sum over the copies of dy
Bottoms   x (any shape)
Tops      y: extent along the axis = tiles times the bottom's
Params    tile_param { axis = 1  tiles: how many copies }
Gradient  exact
Errors    tiles missing or not positive, axis out of range (setup)
Source    Caffe TileLayer
"""

from __future__ import annotations

from collections.abc import Sequence

from nst.backend import Array
from nst.core import Blob, Layer, Shape
from nst.core.shapes import canonical_axis, count


class Tile(Layer):
    type = "Tile"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.tile_param
        if not p.HasField("tiles"):
            raise self.net_error("Number of tiles must be specified (got none, expected >= 1)")
        if p.tiles < 1:
            raise self.net_error(f"Number of tiles must be positive. (got {p.tiles})")
        self.tiles: int = p.tiles
        self.axis = canonical_axis(p.axis, bottom_shapes[0], layer=self.name)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        return [(*shape[: self.axis], shape[self.axis] * self.tiles, *shape[self.axis + 1 :])]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        x = bottom[0].data.reshape(count(shape, 0, self.axis), 1, count(shape, self.axis))
        self._copies(top[0].data, bottom[0].shape)[...] = x

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        if propagate_down[0]:
            dy = self._copies(top[0].diff, bottom[0].shape)
            bottom[0].diff[...] = dy.sum(axis=1).reshape(bottom[0].shape)

    def _copies(self, tiled: Array, shape: Shape) -> Array:
        """The tiled array as (before the axis, tiles, one copy)."""
        return tiled.reshape(count(shape, 0, self.axis), self.tiles, count(shape, self.axis))
