"""One layer with its blobs, wired as a net would wire it: for tests that need no net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf import text_format
from numpy.typing import ArrayLike, DTypeLike, NDArray

from nst.backend import Backend
from nst.core import TEST, Blob, Layer, LayerContext, RandomSource
from nst.layers import layer_class
from nst.proto import LayerParameter

Values = NDArray[Any]


class LayerRig:
    """A layer made from prototxt text, its bottoms (filled) and its tops.

    The text holds `type` and the layer's parameters; name, bottoms and tops are made up unless given.
    """

    def __init__(
        self,
        backend: Backend,
        text: str,
        bottoms: Sequence[ArrayLike] = (),
        *,
        tops: int = 1,
        phase: int = TEST,
        dtype: DTypeLike = np.float64,
        seed: int = 1,
        in_place: bool = False,
        context: dict[str, Any] | None = None,
    ) -> None:
        self.text = text
        param = text_format.Parse(text, LayerParameter())
        param.name = param.name or "layer"
        arrays = [np.asarray(values) for values in bottoms]
        self.bottom = [_filled(backend, f"b{i}", x, dtype) for i, x in enumerate(arrays)]
        if not param.bottom:
            param.bottom.extend(blob.name for blob in self.bottom)
        if not param.top:
            param.top.extend(f"t{i}" for i in range(tops))
        self.rng = RandomSource(seed)
        self.layer: Layer = layer_class(param.type)(
            param,
            LayerContext(backend, dtype=dtype, phase=phase, rng=self.rng, **(context or {})),
        )
        self.top = [Blob(backend, (), dtype=dtype, name=name) for name in param.top]
        if in_place:
            self.top[0] = self.bottom[0]
        self.layer.check_arity(len(self.bottom), len(self.top))
        self.layer.setup([blob.shape for blob in self.bottom])
        self.layer.reshape(self.bottom, self.top)

    @property
    def params(self) -> list[Blob]:
        return self.layer.params

    def forward(self) -> list[Values]:
        """Runs forward as a net does (reshape first); returns copies of the tops' values."""
        self.layer.reshape(self.bottom, self.top)
        self.layer.forward(self.bottom, self.top)
        return [blob.to_host().copy() for blob in self.top]

    def backward(
        self, cotangents: Sequence[ArrayLike], propagate_down: Sequence[bool] | None = None
    ) -> list[Values]:
        """Runs backward from these top gradients; returns copies of the bottoms' gradients."""
        wanted = [True] * len(self.bottom) if propagate_down is None else list(propagate_down)
        for blob, values in zip(self.top, cotangents, strict=True):
            write(blob, "diff", values)
        self.layer.backward(self.top, wanted, self.bottom)
        return [blob.diff_to_host().copy() for blob in self.bottom]


def write(blob: Blob, what: str, values: ArrayLike) -> None:
    """Sets all of a blob's `data` or `diff` from host values."""
    array = np.broadcast_to(np.asarray(values, blob.dtype), blob.shape)
    getattr(blob, what)[...] = blob.backend.asarray(array, blob.dtype)


def _filled(backend: Backend, name: str, values: Values, dtype: DTypeLike) -> Blob:
    blob = Blob(backend, values.shape, dtype=dtype, name=name)
    write(blob, "data", values)
    return blob
