"""DummyData: blobs filled by fillers, for tests and timing.

Formula   y_i = a draw of its filler: once for constant ones, anew at every forward for the others
Tops      y_i, one or more
Params    dummy_data_param { shape: one for all tops or one each  data_filler = constant 0: one for all or one
          each }; deprecated: num, channels, height, width, each one for all or one per top
Gradient  none is needed
Errors    other numbers of shapes or fillers, both ways of giving shapes (setup)
Source    Caffe DummyDataLayer
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from nst.core import Arity, Blob, Layer, Shape
from nst.core.filler import fill
from nst.proto import FillerParameter

T = TypeVar("T")
_LEGACY = ("num", "channels", "height", "width")


class DummyData(Layer):
    type = "DummyData"
    bottoms = Arity.exactly(0)
    tops = Arity.at_least(1)
    is_source = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.dummy_data_param
        tops = len(self.param.top)
        fillers = list(p.data_filler) or [FillerParameter(type="constant", value=0)]
        self.fillers = self._per_top("data_filler", fillers, tops)
        legacy = {name: list(getattr(p, name)) for name in _LEGACY}
        if any(legacy.values()):
            if p.shape:
                raise self.net_error(
                    "give shape or num, channels, height and width, not both (got both)"
                )
            sizes = [self._per_top(name, values, tops) for name, values in legacy.items()]
            self.shapes: list[Shape] = list(zip(*sizes, strict=True))
        else:
            shapes = [tuple(shape.dim) for shape in p.shape]
            self.shapes = self._per_top("shape", shapes, tops)
        self.is_filled = False

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        return self.shapes

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Shapes the tops and fills them once, all of them, as Caffe's set-up does."""
        super().reshape(bottom, top)
        if not self.is_filled:
            self._fill(top, constants=True)
            self.is_filled = True

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._fill(top, constants=False)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        return None

    def _fill(self, top: Sequence[Blob], *, constants: bool) -> None:
        for blob, filler in zip(top, self.fillers, strict=True):
            if constants or filler.type != "constant":
                fill(blob, filler, self.context.rng, layer=self.name)

    def _per_top(self, name: str, values: list[T], tops: int) -> list[T]:
        """One value per top, from one for all or one each."""
        if len(values) not in (1, tops):
            raise self.net_error(
                f"Must specify '{name}' once, or once per top blob "
                f"(got {len(values)}, expected 1 or {tops})"
            )
        return values * tops if len(values) == 1 else values
