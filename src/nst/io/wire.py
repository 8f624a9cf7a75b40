"""Protobuf's wire format, walked in place: which field lies where, without reading what is in it."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple

Bytes = bytes | mmap.mmap

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """Bytes that are not a protobuf message; the text says where."""


class Truncated(WireError):
    """A message that ends in the middle of a field; `missing` is the number of bytes that lack."""

    def __init__(self, missing: int) -> None:
        super().__init__(f"ends early: {missing} more bytes belong to it")
        self.missing = missing


class Field(NamedTuple):
    """One field: its number, wire type, integer value (VARINT), and where its payload lies."""

    number: int
    kind: int
    value: int
    start: int
    end: int


def fields(data: Bytes, start: int, end: int) -> Iterator[Field]:
    """Yields the fields of the message that lies in data[start:end]. Errors: WireError."""
    while start < end:
        field = field_at(data, start, end)
        yield field
        start = field.end


def field_at(data: Bytes, start: int, end: int) -> Field:
    """Returns the field whose tag lies at `start`; it must not go beyond `end`. Errors: WireError."""
    tag, position = varint_at(data, start, end)
    number, kind = tag >> 3, tag & 7
    if not 0 < number < 1 << 29:
        raise WireError(f"no protobuf field at byte {start}")
    if kind == VARINT:
        value, after = varint_at(data, position, end)
        return Field(number, kind, value, position, after)
    if kind == LENGTH:
        size, position = varint_at(data, position, end)
    elif kind in (FIXED32, FIXED64):
        size = 4 if kind == FIXED32 else 8
    else:
        raise WireError(f"no protobuf field at byte {start}")
    if position + size > end:
        raise Truncated(position + size - end)
    return Field(number, kind, 0, position, position + size)


def varint_at(data: Bytes, start: int, end: int) -> tuple[int, int]:
    """Returns the unsigned integer at `start` and the position after it. Errors: WireError."""
    value = 0
    for index in range(10):
        if start + index >= end:
            raise Truncated(1)
        byte = data[start + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, start + index + 1
    raise WireError(f"no protobuf integer at byte {start}")


def signed(value: int) -> int:
    """Returns a varint as the int32 or int64 that it stands for."""
    return value - (1 << 64) if value >> 63 else value


def encoded_varint(value: int) -> bytes:
    """Returns a non-negative integer in protobuf's variable length."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def length_prefix(number: int, size: int) -> bytes:
    """Returns what stands before a payload of `size` bytes in field `number`."""
    return encoded_varint(number << 3 | LENGTH) + encoded_varint(size)
