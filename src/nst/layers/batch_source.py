"""BatchSource: base of the layers that bring batches of records into the net."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from nst.core import Arity, Blob, Layer, Shape

Values = NDArray[Any]


class BatchSource(Layer):
    """No bottoms; every forward puts the next batch into the tops, which take its shape."""

    bottoms = Arity.exactly(0)
    tops = Arity.between(1, 2)
    is_source = True

    @abstractmethod
    def next_batch(self) -> list[Values]:
        """The next batch, one host array per top."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for blob, values in zip(top, self.next_batch(), strict=False):
            blob.reshape(*values.shape)
            blob.data[...] = self.backend.asarray(values, blob.dtype)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        return None

    def tops_of(self, data: Shape, batch_size: int) -> list[Shape]:
        """Shapes of the tops: data of the batch and, if there is a second top, its labels."""
        return [data, (batch_size,)][: len(self.param.top)]

    def positive(self, name: str, value: int) -> int:
        """Returns the value; raises NetError unless it is positive."""
        if value < 1:
            raise self.net_error(f"{name} must be positive (got {value}, expected at least 1)")
        return value
