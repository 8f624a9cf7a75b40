"""Protobuf's text format as Caffe reads it: prototxt text to messages, and back.

The grammar is that of the C++ protobuf that Caffe links (3.x), which differs from Python's text_format in
places: octal and hexadecimal integers, `1e-2f`, `[ {...}, {...} ]`, one `,` or `;` after a field, an
optional field given twice is an error. Every error names file, line, column and, inside one, the layer.

The schema has no recursive message, so its depth bounds the parser's; the time is linear in the text.
"""

from __future__ import annotations

import functools
import os
import re
from typing import NamedTuple, NoReturn, TypeVar, cast

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import Message

from nst.errors import PrototxtError, did_you_mean
from nst.io.files import FilePath, read_bytes
from nst.io.prototxt_values import Token, ValueRefused, value_of
from nst.io.upgrade import upgrade_net, upgrade_solver
from nst.proto import (
    DESCRIPTOR,
    LayerParameter,
    NetParameter,
    SolverParameter,
    V1LayerParameter,
)

M = TypeVar("M", bound=Message)

_TOKEN = re.compile(
    r"""(?P<skip>(?:[ \t\r\n\v\f]|\#[^\n]*)+)
    |(?P<identifier>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>\.?[0-9](?:[eE][+-]|[0-9A-Za-z_.])*)
    |(?P<string>"[^"\\\n]*(?:\\[^\n][^"\\\n]*)*"|'[^'\\\n]*(?:\\[^\n][^'\\\n]*)*')
    |(?P<symbol>.)""",
    re.VERBOSE | re.DOTALL,
)
_OTHER_FILE: dict[str, tuple[type[Message], ...]] = {
    "NetParameter": (SolverParameter,),
    "SolverParameter": (NetParameter, LayerParameter),
}
_CLOSING = {"{": "}", "<": ">"}


def parse_net(text: str, path: str = "<text>") -> NetParameter:
    """Returns the net that the text describes, brought to the current form (see io.upgrade).

    Errors: PrototxtError, with `path` only as a name. Source: Caffe ReadNetParamsFromTextFileOrDie.
    """
    return upgrade_net(parse_message(text, NetParameter, path), path)


def parse_solver(text: str, path: str = "<text>") -> SolverParameter:
    """Returns the solver settings that the text describes, in the current form.

    Errors: PrototxtError. Source: Caffe ReadSolverParamsFromTextFileOrDie.
    """
    return upgrade_solver(parse_message(text, SolverParameter, path), path)


def read_net(path: FilePath) -> NetParameter:
    """Returns the net in a prototxt file, in the current form. Errors: FileError, PrototxtError."""
    return parse_net(_read(path), os.fspath(path))


def read_solver(path: FilePath) -> SolverParameter:
    """Returns the settings in a solver file, in the current form. Errors: FileError, PrototxtError."""
    return parse_solver(_read(path), os.fspath(path))


def format_message(message: Message) -> str:
    """Returns the message as prototxt text, one field a line, that parses back to an equal message."""
    return text_format.MessageToString(message, as_utf8=True)


def parse_message(text: str, kind: type[M], path: str = "<text>") -> M:
    """Returns the message of the given class that the text describes, exactly as written.

    Errors: PrototxtError at the first thing that is not in order.
    """
    message = kind()
    _Parser(text, path).fields(message, end="")
    return message


def _read(path: FilePath) -> str:
    data = read_bytes(path)
    # Comments may be in any encoding; strings that are not UTF-8 are refused where they stand.
    return data.decode("utf-8-sig", errors="surrogateescape")


class _Labels(NamedTuple):
    """The names of a message's repeated and of its required fields."""

    repeated: frozenset[str]
    required: tuple[str, ...]


@functools.cache
def _labels() -> dict[str, _Labels]:
    """Returns the labels of every message of the schema, by the message's name.

    Taken from the serialized schema, because runtimes disagree on the descriptor's own word:
    `label` warns on protobuf 7, `is_repeated` is missing on 5.
    """
    schema = FileDescriptorProto()
    DESCRIPTOR.CopyToProto(schema)
    repeated = FieldDescriptorProto.Label.Value("LABEL_REPEATED")
    required = FieldDescriptorProto.Label.Value("LABEL_REQUIRED")
    return {
        message.name: _Labels(
            frozenset(field.name for field in message.field if field.label == repeated),
            tuple(field.name for field in message.field if field.label == required),
        )
        for message in schema.message_type
    }


class _Opening(NamedTuple):
    """Where a message started, for errors that show at its end."""

    token: Token
    field: str


class _Parser:
    """Recursive descent over tokens; `self.token` is the next one."""

    def __init__(self, text: str, path: str) -> None:
        self.text, self.path = text, path
        self.position = 0
        self.layer: Message | None = None
        self.token = self._next()

    def fields(self, message: Message, end: str, opening: _Opening | None = None) -> None:
        """Reads fields into the message up to the closing symbol, or the end of the text."""
        while not self._is_symbol(end):
            if self.token.kind == "end" and opening is not None:
                self._fail(f"'{opening.field}' is not closed: expected '{end}'", opening.token)
            self._field(message)
            if self._is_symbol(";") or self._is_symbol(","):
                self._advance()
        missing = [
            name
            for name in _labels()[message.DESCRIPTOR.name].required
            if not message.HasField(name)
        ]
        if missing and opening is not None:
            self._fail(f"'{opening.field}' lacks the required {missing[0]!r}", opening.token)

    def _field(self, message: Message) -> None:
        name = self._advance()
        if name.kind != "identifier":
            self._fail(f"expected the name of a field, found {_shown(name)}", name)
        descriptor = cast(Descriptor, message.DESCRIPTOR)
        field = descriptor.fields_by_name.get(name.text)
        if field is None:
            self._fail(_unknown_field(descriptor, name.text), name)
        repeated = field.name in _labels()[message.DESCRIPTOR.name].repeated
        if not repeated and message.HasField(field.name):
            self._fail(f"field '{field.name}' is given twice, it takes one value", name)
        if self._is_symbol(":"):
            self._advance()
        elif field.message_type is None:
            self._fail(f"expected ':' after '{field.name}', found {_shown(self.token)}", self.token)
        if repeated and self._is_symbol("["):
            self._list(message, field)
        else:
            self._value(message, field, repeated)

    def _list(self, message: Message, field: FieldDescriptor) -> None:
        self._advance()
        if self._is_symbol("]"):
            self._advance()
            return
        while True:
            self._value(message, field, repeated=True)
            separator = self._advance()
            if separator.kind == "symbol" and separator.text == "]":
                return
            if separator.kind != "symbol" or separator.text != ",":
                self._fail(
                    f"expected ',' or ']' in '{field.name}', found {_shown(separator)}", separator
                )

    def _value(self, message: Message, field: FieldDescriptor, repeated: bool) -> None:
        if field.message_type is not None:
            self._message(message, field, repeated)
            return
        tokens = self._value_tokens()
        try:
            value = value_of(field, tokens)
        except ValueRefused as refused:
            self._fail(str(refused), refused.token)
        if repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)

    def _message(self, message: Message, field: FieldDescriptor, repeated: bool) -> None:
        start = self._advance()
        if start.kind != "symbol" or start.text not in _CLOSING:
            self._fail(f"expected '{{' after '{field.name}', found {_shown(start)}", start)
        part = getattr(message, field.name)
        if repeated:
            part = part.add()
        else:
            part.SetInParent()
        outer = self.layer
        if isinstance(part, LayerParameter | V1LayerParameter):
            self.layer = part
        self.fields(part, _CLOSING[start.text], _Opening(start, field.name))
        self.layer = outer
        self._advance()

    def _value_tokens(self) -> list[Token]:
        """Reads one value: a word, a number with its sign, or strings that follow each other."""
        tokens = [self._advance()]
        if tokens[0].kind == "symbol" and tokens[0].text == "-":
            tokens.append(self._advance())
        while tokens[0].kind == "string" and self.token.kind == "string":
            tokens.append(self._advance())
        return tokens

    def _is_symbol(self, text: str) -> bool:
        kind = "symbol" if text else "end"
        return self.token.kind == kind and self.token.text == text

    def _advance(self) -> Token:
        token = self.token
        self.token = self._next()
        return token

    def _next(self) -> Token:
        while match := _TOKEN.match(self.text, self.position):
            self.position = match.end()
            if match.lastgroup != "skip":
                return Token(match.lastgroup or "", match.group(), match.start())
        return Token("end", "", len(self.text))

    def _fail(self, what: str, token: Token) -> NoReturn:
        before = self.text[: token.offset]
        line, column = before.count("\n") + 1, token.offset - before.rfind("\n")
        name = getattr(self.layer, "name", "")
        where = f"layer '{name}': " if name else ""
        raise PrototxtError(where + what, path=self.path, line=line, column=column)


def _shown(token: Token) -> str:
    if token.kind == "end":
        return "the end of the text"
    return token.text[:40] if token.kind == "string" else f"'{token.text[:40]}'"


def _unknown_field(descriptor: Descriptor, name: str) -> str:
    """Returns the complaint about a field that the message does not have, with the likeliest remedy."""
    what = f"{descriptor.name} has no field '{name}'."
    if near := did_you_mean(name, descriptor.fields_by_name):
        return what + near
    for other in _OTHER_FILE.get(descriptor.name, ()):
        if name in other.DESCRIPTOR.fields_by_name:
            return (
                f"{what} It is a field of {other.DESCRIPTOR.name}: is this the other kind of file?"
            )
    inner = [
        field.name
        for field in descriptor.fields
        if field.message_type is not None and name in field.message_type.fields_by_name
    ]
    if 0 < len(inner) <= 4:
        return f"{what} It belongs into {' or '.join(inner)}."
    return what
