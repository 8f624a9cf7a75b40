"""Single values of the text format: tokens to numbers, words and strings, by the type of the field."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple, cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from nst.errors import did_you_mean

Value = int | float | bool | str | bytes

_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_BOOLS = {"true": True, "True": True, "t": True, "false": False, "False": False, "f": False}
_INTEGER = re.compile(r"0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*")
_DECIMAL = re.compile(
    r"0|[1-9][0-9]*|(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eEfF]))(?:[eE][+-]?[0-9]+)?[fF]?"
)
_ESCAPE = re.compile(
    r"\\(?:(?P<octal>[0-7]{1,3})|[xX](?P<hex>[0-9a-fA-F]{1,2})|u(?P<u>[0-9a-fA-F]{4})"
    r"|U(?P<U>[0-9a-fA-F]{8})|(?P<simple>[abfnrtv\\?'\"])|(?P<wrong>.))",
    re.DOTALL,
)
_SIMPLE = dict(zip("abfnrtv\\?'\"", "\a\b\f\n\r\t\v\\?'\"", strict=True))


class Token(NamedTuple):
    """A piece of text: its kind (identifier, number, string, symbol, end) and where it starts."""

    kind: str
    text: str
    offset: int


class ValueRefused(ValueError):
    """A value that the field cannot take; `token` is the piece to blame."""

    def __init__(self, message: str, token: Token) -> None:
        super().__init__(message)
        self.token = token


def value_of(field: FieldDescriptor, tokens: Sequence[Token]) -> Value:
    """Returns the value of a scalar field, as protobuf's setters take it.

    `tokens` are what stands after the colon: one word or number, "-" and a number, or adjacent
    strings. Errors: ValueRefused.
    """
    kind = field.cpp_type
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return _real(field, tokens)
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return _string(field, tokens)
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return _enum(field, tokens)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return _bool(field, tokens)
    return _integer(field, tokens, *_RANGES[kind])


def _integer(field: FieldDescriptor, tokens: Sequence[Token], low: int, high: int) -> int:
    last = tokens[-1]
    if last.kind != "number" or not _INTEGER.fullmatch(last.text):
        raise _expected("a whole number", field, tokens)
    if len(last.text) > 40:
        raise ValueRefused(f"'{field.name}' is out of range (got {len(last.text)} digits)", last)
    octal = last.text.startswith("0") and last.text.isdigit()
    value = int(last.text, 8 if octal else 0) * (-1 if len(tokens) > 1 else 1)
    if not low <= value <= high:
        raise ValueRefused(
            f"'{field.name}' is out of range (got {value}, expected {low}..{high})", last
        )
    return value


def _real(field: FieldDescriptor, tokens: Sequence[Token]) -> float:
    last = tokens[-1]
    word = last.text.lower()
    sign = -1.0 if len(tokens) > 1 else 1.0
    if last.kind == "identifier" and word in ("inf", "infinity", "nan"):
        return sign * (math.nan if word == "nan" else math.inf)
    if last.kind != "number" or not _DECIMAL.fullmatch(last.text):
        raise _expected("a decimal number", field, tokens)
    return sign * float(word.rstrip("f"))


def _bool(field: FieldDescriptor, tokens: Sequence[Token]) -> bool:
    word = tokens[0]
    if word.kind == "identifier" and word.text in _BOOLS:
        return _BOOLS[word.text]
    if word.kind == "number" and _INTEGER.fullmatch(word.text):
        return bool(_integer(field, tokens, 0, 1))
    raise _expected("true or false", field, tokens)


def _enum(field: FieldDescriptor, tokens: Sequence[Token]) -> int:
    last = tokens[-1]
    words = cast(EnumDescriptor, field.enum_type)
    known = words.values_by_name
    if last.kind == "number" and _INTEGER.fullmatch(last.text):
        value = _integer(field, tokens, -(2**31), 2**31 - 1)
        if value in words.values_by_number:
            return value
    elif len(tokens) == 1 and last.kind == "identifier":
        if last.text in known:
            return int(known[last.text].number)
    elif last.kind == "string":
        raise ValueRefused(_quoted_enum(field, last), last)
    hint = did_you_mean(last.text, known) or f" Known are {', '.join(known)}."
    raise ValueRefused(f"'{field.name}' has no value '{last.text[:40]}'.{hint}", last)


def _quoted_enum(field: FieldDescriptor, token: Token) -> str:
    if _owner(field) == "V1LayerParameter":
        return (
            f"'{field.name}' of the old 'layers' takes an unquoted word like CONVOLUTION"
            f" (got {token.text[:40]}). Write 'layer' for types in quotes."
        )
    return f"'{field.name}' takes a word without quotes (got {token.text[:40]})"


def _owner(field: FieldDescriptor) -> str:
    return cast(Descriptor, field.containing_type).name


def _string(field: FieldDescriptor, tokens: Sequence[Token]) -> Value:
    for token in tokens:
        if token.kind == "symbol" and token.text in "\"'":
            raise ValueRefused("the string is not closed on its line", token)
        if token.kind != "string":
            raise _expected("a string in quotes", field, tokens, _unquoted_hint(field, token))
    data = b"".join(_unescaped(token) for token in tokens)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueRefused(f"'{field.name}' is not UTF-8", tokens[0]) from None


def _unquoted_hint(field: FieldDescriptor, token: Token) -> str:
    if token.kind != "identifier":
        return ""
    if field.name == "type" and _owner(field) == "LayerParameter":
        return f"Write type: \"{token.text}\", or the old 'layers' for types without quotes."
    return f'Write {field.name}: "{token.text}".'


def _unescaped(token: Token) -> bytes:
    """Returns the bytes that a quoted string stands for (C escapes)."""
    text, out, end = token.text[1:-1], bytearray(), 0
    for match in _ESCAPE.finditer(text):
        out += text[end : match.start()].encode("utf-8", errors="surrogateescape")
        out += _escaped(match, token)
        end = match.end()
    return bytes(out + text[end:].encode("utf-8", errors="surrogateescape"))


def _escaped(match: re.Match[str], token: Token) -> bytes:
    kind, digits = match.lastgroup, match.group(match.lastgroup or 0)
    if kind == "simple":
        return _SIMPLE[digits].encode()
    if kind in ("octal", "hex"):
        return bytes([int(digits, 8 if kind == "octal" else 16) & 0xFF])
    code = int(digits, 16) if kind in ("u", "U") else -1
    if 0 <= code < 0xD800 or 0xDFFF < code <= 0x10FFFF:
        return chr(code).encode("utf-8")
    at = Token("string", match.group(), token.offset + 1 + match.start())
    raise ValueRefused(f"the string has an unknown escape '{match.group()[:40]}'", at)


def _expected(
    what: str, field: FieldDescriptor, tokens: Sequence[Token], hint: str = ""
) -> ValueRefused:
    got = "".join(token.text for token in tokens)[:40] or "the end of the text"
    text = f"'{field.name}' takes {what} (got {got})"
    return ValueRefused(f"{text}. {hint}" if hint else text, tokens[0])
