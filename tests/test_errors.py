"""The exception tree: what its docstring draws is what there is."""

from __future__ import annotations

import re

import pytest

from nst import errors


def test_the_drawing_is_the_tree() -> None:
    drawing = errors.__doc__ or ""
    parents: list[tuple[int, str]] = []
    drawn: dict[str, str] = {}
    for line in drawing.splitlines():
        if found := re.match(r"^    ([│├└─ ]*)(\w+)(?:\(|  |$)", line):
            depth, name = len(found.group(1)), found.group(2)
            while parents and parents[-1][0] >= depth:
                parents.pop()
            drawn[name] = parents[-1][1] if parents else "Exception"
            parents.append((depth, name))

    actual = {
        name: kind.__bases__[0].__name__
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert drawn == actual


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            errors.PrototxtError("what", path="f.prototxt", line=3, column=7),
            "f.prototxt:3:7: what",
        ),
        (errors.PrototxtError("what"), "<text>: what"),
        (errors.NetError("what", layer="conv1"), "layer 'conv1': what"),
        (errors.WeightsError("what", path="w", layer="fc6"), "w: layer 'fc6': what"),
        (errors.SolverError("what", iteration=3), "iteration 3: what"),
        (errors.SolverError("what"), "what"),
        (errors.ImageError("what", path="a.png"), "a.png: what"),
    ],
)
def test_the_text_starts_with_where(error: errors.NstError, text: str) -> None:
    assert str(error) == text


def test_a_near_word_is_suggested_in_its_own_case() -> None:
    assert (
        errors.did_you_mean("convolutoin", ["Convolution", "ReLU"])
        == " Did you mean 'Convolution'?"
    )
    assert errors.did_you_mean("xyz", ["Convolution"]) == ""
