"""Reading the values of flags: pictures with weights, lists of layers and numbers, words of an enum."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FieldDescriptor


@dataclass(frozen=True)
class WeightedName:
    """`name` or `name:weight` of the command line; weight None if it was left out."""

    name: str
    weight: float | None = None


def picture_with_weight(text: str) -> WeightedName:
    """`FILE` or `FILE:WEIGHT`; a file of that very name wins."""
    name, colon, number = text.rpartition(":")
    if colon and name and not Path(text).exists():
        try:
            return WeightedName(name, float(number))
        except ValueError:
            pass  # C:\\picture.jpg, or a colon in the name
    return WeightedName(text)


def layers(text: str) -> list[WeightedName]:
    return [_named(part.strip()) for part in text.split(",") if part.strip()]


def _named(text: str) -> WeightedName:
    name, colon, number = text.rpartition(":")
    if not colon:
        return WeightedName(text)
    try:
        return WeightedName(name, float(number))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"no weight after the colon (got {text!r}, expected NAME or NAME:WEIGHT)"
        ) from None


def numbers(number: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def read(text: str) -> list[Any]:
        try:
            return [number(part) for part in text.split(",")]
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"not numbers (got {text!r}, expected some separated by commas)"
            ) from None

    return read


def whole(field: FieldDescriptor) -> Callable[[str], int]:
    """Reads a whole number that the field can hold."""
    unsigned = field.type == FieldDescriptor.TYPE_UINT32
    low, high = (0, 2**32 - 1) if unsigned else (-(2**31), 2**31 - 1)

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = high + 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"not a number of iterations or pixels (got {text!r}, expected {low} to {high})"
            )
        return value

    return read


def enum(field: FieldDescriptor) -> Callable[[str], int]:
    assert field.enum_type is not None
    numbers = {value.name.lower(): value.number for value in field.enum_type.values}

    def read(text: str) -> int:
        if text.lower() not in numbers:
            raise argparse.ArgumentTypeError(
                f"unknown (got {text!r}, expected one of {', '.join(numbers)})"
            )
        return numbers[text.lower()]

    return read
