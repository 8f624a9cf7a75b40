"""CuPy's manners on the host: an array module that keeps its values from NumPy as a GPU would.

`DeviceArray` holds NumPy values and works like a CuPy array where our code uses one: reductions give arrays
of rank 0, NumPy arrays are refused as operands and as values to assign, and nothing is converted
implicitly. So code that would fail on CuPy fails here, without a GPU. `DEVICE_ARRAYS` is the module.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

REFUSED = "Unsupported type <class 'numpy.ndarray'>: a device array meets a NumPy array"
IMPLICIT = "Implicit conversion to a NumPy array is not allowed. Use backend.to_host()"


class DeviceArray:
    """Values on the 'device'; `host` is for the device itself only."""

    __slots__ = ("__weakref__", "host")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: np.ndarray) -> None:
        self.host = host

    # ---- what an array tells --------------------------------------------------------------------

    shape = property(lambda self: self.host.shape)
    dtype = property(lambda self: self.host.dtype)
    ndim = property(lambda self: self.host.ndim)
    size = property(lambda self: self.host.size)
    nbytes = property(lambda self: self.host.nbytes)
    itemsize = property(lambda self: self.host.itemsize)
    strides = property(lambda self: self.host.strides)
    flags = property(lambda self: self.host.flags)
    T = property(lambda self: DeviceArray(self.host.T))

    @property
    def data(self) -> Any:
        """CuPy's memory pointer: `array.data.ptr`."""
        return type("Pointer", (), {"ptr": self.host.ctypes.data})()

    def get(self) -> np.ndarray:
        return self.host.copy()

    # ---- values leave only when asked for one by one ---------------------------------------------

    def __array__(self, *args: object, **options: object) -> np.ndarray:
        raise TypeError(IMPLICIT)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return _on_host(getattr(ufunc, method))(*inputs, **options)

    def __array_function__(self, function: Any, *rest: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} on a device array: use backend.xp")

    def __float__(self) -> float:
        return float(self.host)

    def __int__(self) -> int:
        return int(self.host)

    def __index__(self) -> int:
        return operator.index(self.host)

    def __bool__(self) -> bool:
        return bool(self.host)

    def __len__(self) -> int:
        return len(self.host)

    def __iter__(self) -> Iterator[DeviceArray]:
        return (DeviceArray(row) for row in self.host)

    def __repr__(self) -> str:
        return f"DeviceArray({self.host!r})"

    def __format__(self, spec: str) -> str:
        return format(self.host[()], spec)

    def __getitem__(self, index: Any) -> DeviceArray:
        return DeviceArray(np.asarray(self.host[_plain(index)])[...])

    def __setitem__(self, index: Any, value: Any) -> None:
        self.host[_plain(index)] = _plain(value)


_METHODS = (
    *("reshape", "ravel", "transpose", "swapaxes", "squeeze", "copy", "astype", "view", "fill"),
    *("sum", "mean", "var", "std", "max", "min", "argmax", "argmin", "any", "all", "trace", "dot"),
    *("item", "cumsum", "prod", "argsort", "take", "tolist", "clip", "nonzero", "flatten"),
    *("repeat", "round", "sort", "diagonal"),
)
_OPERATORS = (
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"),
    *("lt", "le", "gt", "ge", "eq", "ne"),
)


def _plain(value: Any) -> Any:
    """Device values as the stand-in keeps them; NumPy arrays are refused, numbers pass."""
    if isinstance(value, DeviceArray):
        return value.host
    if isinstance(value, np.ndarray):
        raise TypeError(REFUSED)
    if isinstance(value, tuple | list):
        return type(value)(_plain(part) for part in value)
    return value


def _wrapped(result: Any) -> Any:
    """Results as device arrays; CuPy has no scalars of its own."""
    if isinstance(result, np.ndarray | np.generic):
        return DeviceArray(np.asarray(result))
    if isinstance(result, tuple):
        return tuple(_wrapped(part) for part in result)
    if isinstance(result, list):
        return [_wrapped(part) for part in result]
    return result


def _on_host(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function on device arrays."""

    def call(*arguments: Any, **options: Any) -> Any:
        out = options.get("out")
        plain = {name: _plain(value) for name, value in options.items()}
        result = function(*(_plain(value) for value in arguments), **plain)
        if out is not None:
            return out[0] if isinstance(out, tuple) else out
        return _wrapped(result)

    return call


def _give_methods() -> None:
    for name in _METHODS:
        method = getattr(np.ndarray, name)
        setattr(DeviceArray, name, lambda self, *a, _m=method, **k: _on_host(_m)(self, *a, **k))
    for name in _OPERATORS:
        _give_operator(name)
    for name in ("neg", "invert", "abs", "pos"):
        method = getattr(np.ndarray, f"__{name}__")
        setattr(DeviceArray, f"__{name}__", lambda self, _m=method: _wrapped(_m(self.host)))


def _give_operator(name: str) -> None:
    function = getattr(operator, f"{name}_" if name in ("and", "or") else name)

    def forward(self: DeviceArray, other: Any) -> Any:
        return _wrapped(function(self.host, _plain(other)))

    def reverse(self: DeviceArray, other: Any) -> Any:
        return _wrapped(function(_plain(other), self.host))

    def in_place(self: DeviceArray, other: Any) -> DeviceArray:
        getattr(np.ndarray, f"__i{name}__")(self.host, _plain(other))
        return self

    setattr(DeviceArray, f"__{name}__", forward)
    if name not in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(DeviceArray, f"__r{name}__", reverse)
        setattr(DeviceArray, f"__i{name}__", in_place)


_give_methods()


class _Ufunc:
    """A NumPy ufunc with its methods (`add.at`)."""

    def __init__(self, ufunc: Any) -> None:
        self._ufunc = ufunc

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return _on_host(self._ufunc)(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return _on_host(getattr(self._ufunc, name))


class _Module:
    """NumPy's functions on device arrays, looked up by name."""

    ndarray = DeviceArray

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if isinstance(found, np.ufunc):
            return _Ufunc(found)
        if type(found) is type(math):
            return _Module(found)
        if isinstance(found, type) or not callable(found):
            return found
        return _on_host(found)

    def asarray(self, values: Any, dtype: Any = None) -> DeviceArray:
        """The way in: NumPy values are copied, as over the bus."""
        if isinstance(values, DeviceArray):
            same = dtype is None or values.dtype == dtype
            return values if same else DeviceArray(values.host.astype(dtype))
        return DeviceArray(np.array(values, dtype))

    array = asarray

    def asnumpy(self, array: DeviceArray) -> np.ndarray:
        """The way out."""
        return array.host.copy()


DEVICE_ARRAYS = _Module(np)
