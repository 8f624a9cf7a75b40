"""Blob: an n-dimensional array of values with an equally shaped gradient, on one backend.

Memory is made when it is first touched, so a blob whose gradient nobody asks for never allocates one.
Blobs may share memory (SPLIT, FLATTEN, PARAMETER, shared weights, in-place layers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nst.backend import Array, Backend
from nst.core import shapes
from nst.core.shapes import Shape
from nst.errors import BackendError, ShapeError

MOST_AXES = 32
"""Caffe's kMaxBlobAxes."""

MOST_VALUES = 2**40
"""Values in one blob: more is a mistake in the description. Caffe stops at 2^31 - 1, which is 33 megapixels
of VGG's first layer; ours does not."""


class Memory:
    """A flat array of one backend, shared by every blob that refers to it.

    `pending` is set by an engine that holds newer values in a layout of its own: it is called, once, before
    anyone looks at the array. `exposed` tells that engine that the array was handed out since and that its
    own copy may be stale. `native` is where that engine keeps its own copy.
    """

    __slots__ = ("__weakref__", "exposed", "flat", "native", "pending")

    def __init__(self) -> None:
        self.flat: Array | None = None
        self.pending: Callable[[], None] | None = None
        self.exposed = False
        self.native: Any = None

    def view(self, shape: Shape, backend: Backend, dtype: DTypeLike) -> Array:
        """The first count(shape) values as an array of that shape; new memory is zero."""
        if self.pending is not None:
            fill, self.pending = self.pending, None
            fill()
        self.exposed = True
        return self.raw(shape, backend, dtype)

    def raw(self, shape: Shape, backend: Backend, dtype: DTypeLike) -> Array:
        """`view` for the engine itself: neither fills nor marks the array as handed out."""
        need = shapes.count(shape)
        if self.flat is None or self.flat.size < need:
            self.flat = _allocate(shape, backend, dtype)
        flat = self.flat if self.flat.size == need else self.flat[:need]
        return flat.reshape(shape)


def _allocate(shape: Shape, backend: Backend, dtype: DTypeLike) -> Array:
    """New zeros for one blob; memory that is not there is an error of ours."""
    need = shapes.count(shape)
    try:
        return backend.zeros((need,), dtype)
    except MemoryError as error:
        gigabytes = need * np.dtype(dtype).itemsize / 1e9
        raise BackendError(
            f"backend '{backend.name}': out of memory (asked for {gigabytes:,.1f} GB for a blob of "
            f"shape {shape})"
        ) from error


class Blob:
    """Named values (`data`) and their gradient (`diff`); Caffe's Blob.

    `data` and `diff` are the backend's arrays, writable and not assignable: `blob.data[...] = x`. On the host
    backends they are numpy arrays that are the blob's own memory.
    """

    __slots__ = ("__weakref__", "_data", "_diff", "_shape", "backend", "dtype", "name")

    def __init__(
        self,
        backend: Backend,
        shape: Sequence[int] = (),
        *,
        dtype: DTypeLike = np.float32,
        name: str = "",
    ) -> None:
        self.backend = backend
        self.dtype = np.dtype(dtype)
        self.name = name
        self._shape: Shape = ()
        self._data = Memory()
        self._diff = Memory()
        self.reshape(*shape)

    @property
    def data(self) -> Array:
        """The values, an array of `shape`."""
        return self._data.view(self._shape, self.backend, self.dtype)

    @property
    def diff(self) -> Array:
        """The gradient of the loss with respect to the values, an array of `shape`."""
        return self._diff.view(self._shape, self.backend, self.dtype)

    @property
    def shape(self) -> Shape:
        return self._shape

    @property
    def count(self) -> int:
        """Number of values."""
        return shapes.count(self._shape)

    @property
    def has_diff(self) -> bool:
        """Whether memory for the gradient exists; asking for `diff` makes it."""
        return self._diff.flat is not None or self._diff.pending is not None

    @property
    def data_memory(self) -> Memory:
        """What holds the values; two blobs share data if this is the same object."""
        return self._data

    @property
    def diff_memory(self) -> Memory:
        """What holds the gradient."""
        return self._diff

    @property
    def num(self) -> int:
        """Legacy 4-D name of axis 0; 1 if there is no such axis. Raises ShapeError above rank 4."""
        return self._legacy(0)

    @property
    def channels(self) -> int:
        """Legacy 4-D name of axis 1."""
        return self._legacy(1)

    @property
    def height(self) -> int:
        """Legacy 4-D name of axis 2."""
        return self._legacy(2)

    @property
    def width(self) -> int:
        """Legacy 4-D name of axis 3."""
        return self._legacy(3)

    def reshape(self, *shape: int | Sequence[int]) -> None:
        """Changes the shape; keeps the memory while it is large enough, else starts new, zero memory.

        The sizes come one by one, or as one sequence.
        """
        sizes = [
            size for part in shape for size in (part if isinstance(part, Sequence) else (part,))
        ]
        if any(size < 0 for size in sizes):
            raise ShapeError(f"blob '{self.name}': negative size (got shape {tuple(sizes)})")
        if len(sizes) > MOST_AXES:
            raise ShapeError(
                f"blob '{self.name}': too many axes (got {len(sizes)}, expected at most {MOST_AXES})"
            )
        need = shapes.count(sizes)
        if need > MOST_VALUES:
            raise ShapeError(
                f"blob '{self.name}': blob size exceeds what any memory holds "
                f"(got {need} values for shape {tuple(sizes)}, expected at most {MOST_VALUES})"
            )
        self._shape = tuple(int(size) for size in sizes)
        if self._data.flat is not None and self._data.flat.size < need:
            self._data = Memory()
        if self._diff.flat is not None and self._diff.flat.size < need:
            self._diff = Memory()

    def share_data(self, other: Blob) -> None:
        """Makes this blob's data the same memory as other's; counts must agree."""
        self._check_same_count(other)
        self._data = other._data

    def share_diff(self, other: Blob) -> None:
        """Makes this blob's gradient the same memory as other's; counts must agree."""
        self._check_same_count(other)
        self._diff = other._diff

    def release(self) -> None:
        """Gives the memory back; the next look at it sees zeros."""
        self._data, self._diff = Memory(), Memory()

    def to_host(self) -> NDArray[Any]:
        """The values as a numpy array (on host backends the memory itself)."""
        return self.backend.to_host(self.data)

    def diff_to_host(self) -> NDArray[Any]:
        """The gradient as a numpy array (on host backends the memory itself)."""
        return self.backend.to_host(self.diff)

    def _check_same_count(self, other: Blob) -> None:
        if self.count != other.count:
            raise ShapeError(
                f"blob '{self.name}': cannot share memory with blob '{other.name}' "
                f"(got shape {other.shape}, expected {self.shape})"
            )

    def _legacy(self, axis: int) -> int:
        if len(self._shape) > 4:
            raise ShapeError(
                f"blob '{self.name}': num/channels/height/width need at most 4 axes (got {self.shape})"
            )
        return self._shape[axis] if axis < len(self._shape) else 1

    def __repr__(self) -> str:
        return f"Blob({self.name!r}, shape={self._shape}, {self.dtype.name} on {self.backend.name})"
