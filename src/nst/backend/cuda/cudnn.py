"""cuDNN's graph API through ctypes: descriptors that are made, filled, finalised and asked.

Five functions of libcudnn do everything. `Cudnn` is the library with a handle, or without one where plans are
built for a GPU that is only described; `Node` is one descriptor, which keeps alive what it refers to.
"""

from __future__ import annotations

import ctypes as ct
import json
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nst.backend.cuda.numbers import Attribute, Descriptor, Kind
from nst.errors import BackendError

_CTYPES: dict[Kind, Any] = {
    Kind.HANDLE: ct.c_void_p,
    Kind.BOOLEAN: ct.c_bool,
    Kind.INT64: ct.c_int64,
    Kind.FLOAT: ct.c_float,
    Kind.DOUBLE: ct.c_double,
    Kind.VOID_PTR: ct.c_void_p,
    Kind.BACKEND_DESCRIPTOR: ct.c_void_p,
    Kind.CHAR: ct.c_char,
}
"""C type of each kind of value; the kinds that are missing are enums, which are ints."""

_P, _I, _L = ct.c_void_p, ct.c_int, ct.c_int64
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "cudnnGetVersion": (ct.c_size_t, []),
    "cudnnGetErrorString": (ct.c_char_p, [_I]),
    "cudnnGetLastErrorString": (None, [ct.c_char_p, ct.c_size_t]),
    "cudnnCreate": (_I, [ct.POINTER(_P)]),
    "cudnnDestroy": (_I, [_P]),
    "cudnnSetStream": (_I, [_P, _P]),
    "cudnnBackendCreateDescriptor": (_I, [_I, ct.POINTER(_P)]),
    "cudnnBackendDestroyDescriptor": (_I, [_P]),
    "cudnnBackendSetAttribute": (_I, [_P, _I, _I, _L, _P]),
    "cudnnBackendGetAttribute": (_I, [_P, _I, _I, _L, ct.POINTER(_L), _P]),
    "cudnnBackendFinalize": (_I, [_P]),
    "cudnnBackendExecute": (_I, [_P, _P, _P]),
}

_NOT_SUPPORTED = range(3000, 4000)
"""Status codes CUDNN_STATUS_NOT_SUPPORTED_*."""


class CudnnError(BackendError):
    """A call of cuDNN failed; `is_unsupported` tells that it only cannot do what was asked."""

    def __init__(self, what: str, status: int, name: str, detail: str) -> None:
        super().__init__(f"cuDNN: {what} failed ({name}{': ' if detail else ''}{detail})")
        self.is_unsupported = status in _NOT_SUPPORTED


class Cudnn:
    """The library and one handle. `device` describes another GPU, by cuDNN's own names of its properties, to
    build plans for it without having one; such plans cannot be executed."""

    def __init__(self, library: ct.CDLL, device: Mapping[str, Any] | None = None) -> None:
        self.library = library
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        self.version: int = library.cudnnGetVersion()
        self.handle: int | None = None
        self.device: Node | None = None
        if device is None:
            self._create_handle()
        else:
            text = json.dumps(dict(device)).encode()
            self.device = self.node(Descriptor.DEVICEPROP)
            self.device.set(Attribute.DEVICEPROP_JSON_REPRESENTATION, Kind.CHAR, text).finalize()

    def node(self, descriptor: Descriptor) -> Node:
        """A new descriptor, to be filled and finalised."""
        return Node(self, descriptor)

    def set_stream(self, stream: int) -> None:
        """Work goes to this CUDA stream from now on."""
        self.check(self.library.cudnnSetStream(self.handle, stream), "cudnnSetStream")

    def execute(self, plan: int, variant_pack: int) -> None:
        """Launches a finalised plan."""
        status = self.library.cudnnBackendExecute(self.handle, plan, variant_pack)
        self.check(status, "cudnnBackendExecute")

    def check(self, status: int, what: str) -> None:
        """Raises CudnnError with cuDNN's own last words if a call did not succeed."""
        if status == 0:
            return
        text = ct.create_string_buffer(2048)
        self.library.cudnnGetLastErrorString(text, len(text))
        name = self.library.cudnnGetErrorString(status).decode()
        detail = " ".join(text.value.decode(errors="replace").split())
        raise CudnnError(what, status, name, detail[-400:])

    def _create_handle(self) -> None:
        handle = ct.c_void_p()
        self.check(self.library.cudnnCreate(ct.byref(handle)), "cudnnCreate")
        self.handle = handle.value
        weakref.finalize(self, self.library.cudnnDestroy, handle)


class Node:
    """One backend descriptor. `set` and `finalize` return the node itself, so that calls can be chained."""

    def __init__(self, cudnn: Cudnn, descriptor: Descriptor) -> None:
        self.cudnn, self.descriptor = cudnn, descriptor
        pointer = ct.c_void_p()
        create = cudnn.library.cudnnBackendCreateDescriptor
        cudnn.check(create(descriptor, ct.byref(pointer)), f"making a {descriptor.name} descriptor")
        self.pointer = int(pointer.value or 0)
        self._parts: list[Node] = []
        weakref.finalize(self, cudnn.library.cudnnBackendDestroyDescriptor, pointer)

    def set(self, attribute: Attribute, kind: Kind, values: Any) -> Node:
        """Sets an attribute to one value, or to a sequence of them."""
        array = _as_array(kind, values)
        if kind is Kind.BACKEND_DESCRIPTOR:
            self._parts += [values] if isinstance(values, Node) else values
        status = self.cudnn.library.cudnnBackendSetAttribute(
            self.pointer, attribute, kind, len(array), ct.addressof(array)
        )
        self.cudnn.check(status, f"setting {attribute.name}")
        return self

    def finalize(self) -> Node:
        """Ends the filling; cuDNN checks what was set."""
        status = self.cudnn.library.cudnnBackendFinalize(self.pointer)
        self.cudnn.check(status, f"finalising a {self.descriptor.name} descriptor")
        return self

    def get(self, attribute: Attribute, kind: Kind, room: int) -> list[Any]:
        """Values of an attribute, `room` at most."""
        array = (_CTYPES.get(kind, ct.c_int) * room)()
        return list(array[: self._read(attribute, kind, room, array)])

    def get_text(self, attribute: Attribute) -> bytes:
        """A text attribute of any length."""
        array = ct.create_string_buffer(self._read(attribute, Kind.CHAR, 0, None))
        length = self._read(attribute, Kind.CHAR, len(array), array)
        return array.raw[:length]

    def get_nodes(self, attribute: Attribute, descriptor: Descriptor, room: int) -> list[Node]:
        """Descriptors that cuDNN fills in, `room` at most."""
        nodes = [self.cudnn.node(descriptor) for _ in range(room)]
        array = (ct.c_void_p * room)(*(node.pointer for node in nodes))
        return nodes[: self._read(attribute, Kind.BACKEND_DESCRIPTOR, room, array)]

    def _read(self, attribute: Attribute, kind: Kind, room: int, array: Any) -> int:
        """Lets cuDNN write into an array; returns how many values there are."""
        found = ct.c_int64()
        where = None if array is None else ct.addressof(array)
        status = self.cudnn.library.cudnnBackendGetAttribute(
            self.pointer, attribute, kind, room, ct.byref(found), where
        )
        self.cudnn.check(status, f"reading {attribute.name}")
        return min(found.value, room) if room else found.value


def _as_array(kind: Kind, values: Any) -> Any:
    """A C array of the values."""
    if kind is Kind.CHAR:
        return ct.create_string_buffer(values, len(values))
    several: Sequence[Any] = list(values) if isinstance(values, Iterable) else [values]
    if kind is Kind.BACKEND_DESCRIPTOR:
        several = [node.pointer for node in several]
    return (_CTYPES.get(kind, ct.c_int) * len(several))(*several)
