"""cuDNN's numbers are those of its header, where the wheel is installed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

import pytest
from backend.cuda.wheel import cudnn_wheel

from nst.backend.cuda import numbers

PATTERNS = {
    numbers.Descriptor: "CUDNN_BACKEND_{}_DESCRIPTOR",
    numbers.Attribute: "CUDNN_ATTR_{}",
    numbers.Kind: "CUDNN_TYPE_{}",
    numbers.DataType: "CUDNN_DATA_{}",
    numbers.Pointwise: "CUDNN_POINTWISE_{}",
    numbers.Heuristic: "CUDNN_HEUR_MODE_{}",
    numbers.NumericalNote: "CUDNN_NUMERICAL_NOTE_{}",
    numbers.BehaviorNote: "CUDNN_BEHAVIOR_NOTE_{}",
}


@pytest.fixture(scope="module")
def header() -> dict[str, int]:
    """Every enumerator of the headers of the graph API, with C's rule for those without a number."""
    found: dict[str, int] = {}
    for path in sorted((cudnn_wheel() / "nvidia/cudnn/include").glob("cudnn_*.h")):
        text = re.sub(r"/\*.*?\*/|//[^\n]*|#[^\n]*", "", path.read_text(), flags=re.DOTALL)
        for body in re.findall(r"typedef enum\s*\w*\s*\{(.*?)\}", text, re.DOTALL):
            found.update(_enumerators(body))
    return found


def _enumerators(body: str) -> Iterator[tuple[str, int]]:
    number = -1
    for part in body.split(","):
        left, _, given = (word.strip() for word in part.strip().partition("="))
        name = left.partition(" ")[0]  # what follows marks it as deprecated
        if name and (not given or given.isdigit()):
            number = int(given) if given else number + 1
            yield name, number


@pytest.mark.parametrize("kind", PATTERNS, ids=lambda kind: kind.__name__)
def test_the_numbers_are_those_of_the_header(kind: type[IntEnum], header: dict[str, int]) -> None:
    pattern = PATTERNS[kind]

    assert {pattern.format(member.name): member.value for member in kind} == {
        pattern.format(member.name): header.get(pattern.format(member.name)) for member in kind
    }


def test_the_mode_of_a_convolution_is_that_of_the_header(header: dict[str, int]) -> None:
    assert header["CUDNN_CROSS_CORRELATION"] == numbers.CROSS_CORRELATION


def test_the_wheel_is_looked_for_where_the_variable_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "nvidia/cudnn/lib").mkdir(parents=True)
    monkeypatch.setenv("NST_CUDNN_WHEELS", str(tmp_path))

    assert cudnn_wheel() == tmp_path
