"""Reading the values of flags: pictures with weights, lists of layers and numbers, words of an enum."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from nst.proto import FeatureWeight

_LIMITS = {
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
}


@dataclass(frozen=True)
class WeightedName:
    """`name`, `name:weight` or `name:weight:statistic` of the command line; None what was left out."""

    name: str
    weight: float | None = None
    statistic: int | None = None


@dataclass(frozen=True)
class GivenStyle:
    """A `--style` of the command line, with what the flags behind it say about it."""

    name: str
    weight: float | None = None
    mask: str = ""
    style_mask: str = ""
    region: str = ""


class OfTheStyle(argparse.Action):
    """A flag about the `--style` before it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        styles: list[GivenStyle] = getattr(namespace, "style", None) or []
        if not styles:
            parser.error(f"{option_string}: put it behind the --style that it is about")
        if getattr(styles[-1], self.dest):
            parser.error(f"{option_string}: given twice for --style {styles[-1].name}")
        styles[-1] = replace(styles[-1], **{self.dest: values})


def picture_with_weight(text: str) -> GivenStyle:
    """`FILE` or `FILE:WEIGHT`; a file of that very name wins."""
    name, colon, number = text.rpartition(":")
    if colon and name and not Path(text).exists():
        try:
            return GivenStyle(name, float(number))
        except ValueError:
            pass  # C:\\picture.jpg, or a colon in the name
    return GivenStyle(text)


def size(text: str) -> int | tuple[int, int]:
    """`512`, or `800x300`: width and height."""
    parts = text.lower().split("x")
    if len(parts) <= 2 and all(part.isascii() and part.isdigit() for part in parts):
        numbers = [int(part) for part in parts]
        if all(number < 2**32 for number in numbers):
            return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])
    raise argparse.ArgumentTypeError(
        f"got {text!r}, expected a whole number of pixels, or WIDTHxHEIGHT"
    )


def layers(text: str) -> list[WeightedName]:
    """`NAME[:WEIGHT[:STATISTIC]]`, several separated by commas."""
    return [_layer(part.strip()) for part in text.split(",") if part.strip()]


def _layer(text: str) -> WeightedName:
    name, *more = text.split(":")
    if len(more) > 2:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected NAME[:WEIGHT[:STATISTIC]]")
    try:
        weight = float(more[0]) if more else None
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"no weight after the colon (got {text!r}, expected NAME or NAME:WEIGHT)"
        ) from None
    field = FeatureWeight.DESCRIPTOR.fields_by_name["statistic"]
    return WeightedName(name, weight, enum(field)(more[1]) if len(more) > 1 else None)


def numbers(number: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def read(text: str) -> list[Any]:
        try:
            return [number(part) for part in text.split(",") if part]
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"not numbers (got {text!r}, expected some separated by commas)"
            ) from None

    return read


def whole(field: Any) -> Callable[[str], int]:
    """Reads a whole number that the field can hold."""
    low, high = _LIMITS[field.cpp_type]

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = high + 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"got {text!r}, expected a whole number, {low} to {high}"
            )
        return value

    return read


def enum(field: Any) -> Callable[[str], int]:
    numbers: dict[str, int] = {value.name.lower(): value.number for value in field.enum_type.values}

    def read(text: str) -> int:
        if text.lower() not in numbers:
            raise argparse.ArgumentTypeError(
                f"unknown (got {text!r}, expected one of {', '.join(numbers)})"
            )
        return numbers[text.lower()]

    return read
