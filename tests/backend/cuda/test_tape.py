"""Buffers in the arena: what is alive together does not overlap, what is not shares."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nst.backend.cuda.program.places import Buffer
from nst.backend.cuda.program.scaling import ACTIVATION_BITS, GRADIENT_BITS, LIMIT, exponents
from nst.backend.cuda.program.tape import GRANULE, place_buffers, rounded

LIVES = st.tuples(st.integers(1, 5000), st.integers(0, 30), st.integers(0, 10))


@given(st.lists(LIVES, max_size=40))
def test_buffers_that_are_alive_together_do_not_overlap(
    lives: list[tuple[int, int, int]],
) -> None:
    buffers = [Buffer(size, first, first + length) for size, first, length in lives]
    size = place_buffers(buffers)

    for i, a in enumerate(buffers):
        assert a.address % GRANULE == 0
        assert a.address + a.nbytes <= size
        for b in buffers[:i]:
            together = a.first <= b.last and b.first <= a.last
            apart = a.address + a.nbytes <= b.address or b.address + b.nbytes <= a.address
            assert apart or not together


def test_what_dies_makes_room() -> None:
    buffers = [Buffer(1000, step, step + 1) for step in range(10)]

    assert place_buffers(buffers) == 2 * rounded(1000)


def test_a_buffer_that_nobody_touches_takes_nothing() -> None:
    assert place_buffers([Buffer(1000)]) == 0


@pytest.mark.parametrize("largest", [1e-6, 0.75, 1.0, 1.5, 2047.0, 65504.0, 1e9])
def test_the_largest_value_comes_near_its_power_of_two_and_not_above(largest: float) -> None:
    found = exponents({"a0": largest, "d0": largest})

    for key, bits in (("a0", ACTIVATION_BITS), ("d0", GRADIENT_BITS)):
        assert 2.0 ** (bits - 1) <= largest * 2.0 ** found[key] <= 2.0**bits


@pytest.mark.parametrize("largest", [0.0, math.inf, math.nan])
def test_nothing_to_go_by_is_no_scaling(largest: float) -> None:
    assert exponents({"a0": largest}) == {"a0": 0}


def test_exponents_have_a_limit() -> None:
    assert exponents({"a0": 1e-30, "d0": 1e30}) == {"a0": LIMIT, "d0": -LIMIT}
