"""Sizes and iterations of a run."""

from __future__ import annotations

import pytest

from nst.errors import UsageError
from nst.io.prototxt import parse_solver
from nst.style.schedule import Stage, read_schedule


@pytest.mark.parametrize(
    ("text", "own_size", "expected"),
    [
        ("max_iter: 5", 300, [Stage(300, 5)]),
        ("max_iter: 5", 3000, [Stage(512, 5)]),
        ("max_iter: 5 style_transfer_param { size: 700 }", 300, [Stage(700, 5)]),
        (
            "max_iter: 5 style_transfer_param { sizes: [64, 128] }",
            300,
            [Stage(64, 5), Stage(128, 5)],
        ),
        (
            "style_transfer_param { sizes: [64, 128] iterations: [9, 4] }",
            300,
            [Stage(64, 9), Stage(128, 4)],
        ),
        (
            "max_iter: 5 style_transfer_param { size: 512 coarsest_size: 128 }",
            300,
            [Stage(size, 5) for size in (128, 181, 256, 362, 512)],
        ),
        (
            "max_iter: 5 style_transfer_param { size: 200 coarsest_size: 128 }",
            300,
            [Stage(141, 5), Stage(200, 5)],
        ),
        (
            "max_iter: 5 style_transfer_param { size: 100 coarsest_size: 128 }",
            300,
            [Stage(100, 5)],
        ),
        (
            "style_transfer_param { size: 256 coarsest_size: 128 iterations: [9, 4] }",
            300,
            [Stage(128, 9), Stage(181, 4), Stage(256, 4)],
        ),
        (
            "style_transfer_param { size: 100 coarsest_size: 128 iterations: [9, 4] }",
            300,
            [Stage(100, 9)],
        ),
        (
            "max_iter: 5 style_transfer_param { sizes: [64, 128] coarsest_size: 16 }",
            300,
            [Stage(64, 5), Stage(128, 5)],
        ),
    ],
)
def test_the_schedule_is_read(text: str, own_size: int, expected: list[Stage]) -> None:
    assert list(read_schedule(parse_solver(text), own_size)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_iter: 5 style_transfer_param { size: 4 }", "size: too small"),
        ("max_iter: 5 style_transfer_param { sizes: [128, 64] }", "must rise from coarse to fine"),
        ("style_transfer_param { size: 64 }", "no iterations to run"),
        (
            "style_transfer_param { sizes: [64, 128, 256] iterations: [1, 2] }",
            "one for all sizes or one per size",
        ),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_schedule(parse_solver(text), 300)
