"""Plain Python into messages: dictionaries, lists and single values (pycaffe's assign_proto)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from nst.errors import UsageError, did_you_mean

_KINDS = {
    FieldDescriptor.CPPTYPE_BOOL: "True or False",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_STRING: "a string",
}


class UnknownField(UsageError, AttributeError):
    """A setting or word that the message does not have."""


def assign_proto(proto: Message, name: str, val: Any) -> None:
    """Sets a field: dictionaries for messages, lists or single values for repeated fields.

    Words of an enum may be numbers or strings. Raises UnknownField, and UsageError for a value that the
    field does not take.
    """
    field: FieldDescriptor | None = proto.DESCRIPTOR.fields_by_name.get(name)  # type: ignore[assignment]
    if field is None:
        near = did_you_mean(name, proto.DESCRIPTOR.fields_by_name)
        raise UnknownField(f"{name}: {proto.DESCRIPTOR.name} has no such field.{near}")
    try:
        _assign(proto, field, val)
    except (TypeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        where = f"{proto.DESCRIPTOR.name}.{name}"
        raise UsageError(f"{where}: got {val!r}, expected {_expected(field)}") from error


def _assign(proto: Message, field: FieldDescriptor, value: Any) -> None:
    target = getattr(proto, field.name)
    if hasattr(target, "extend"):
        for item in value if isinstance(value, list | tuple | np.ndarray) else [value]:
            if field.message_type is None:
                target.append(_plain(field, item))
            else:
                _fill(target.add(), item)
    elif field.message_type is None:
        setattr(proto, field.name, _plain(field, value))
    else:
        target.SetInParent()
        _fill(target, value)


def _fill(message: Message, value: Any) -> None:
    if isinstance(value, Message):
        message.MergeFrom(value)
        return
    for name, inner in _items(value):
        assign_proto(message, name, inner)


def _items(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError("no dictionary")
    return value.items()


def _plain(field: FieldDescriptor, value: Any) -> Any:
    """The value as protobuf takes it: words as numbers, numpy's scalars as Python's."""
    if field.enum_type is not None and isinstance(value, str):
        words = field.enum_type.values_by_name
        if value not in words:
            raise ValueError("no word of the enum")
        return words[value].number
    return value.item() if isinstance(value, np.generic) else value


def _expected(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        return f"a dictionary of {field.message_type.name}'s fields"
    if field.enum_type is not None:
        return f"one of {', '.join(field.enum_type.values_by_name)}"
    return _KINDS.get(field.cpp_type, "a whole number")
