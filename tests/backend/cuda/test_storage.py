"""Storages: rounding to the nearest, by looking at both neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from nst.backend.cuda.storage import DTYPES, stored


def widened_bf16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def test_bf16_is_the_nearest_number(rng: np.random.Generator) -> None:
    values = (rng.standard_normal(1000) * 10.0 ** rng.integers(-30, 30, 1000)).astype(np.float32)
    bits = stored(values, "bf16")

    distance = np.abs(widened_bf16(bits) - values)
    for neighbour in (bits - 1, bits + 1):
        assert (distance <= np.abs(widened_bf16(neighbour) - values)).all()


def test_bf16_rounds_ties_to_even_and_keeps_what_is_no_number() -> None:
    values = np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, np.inf, -np.inf, np.nan, 0.0], np.float32)

    result = widened_bf16(stored(values, "bf16"))

    np.testing.assert_array_equal(result, np.float32([1, 1 + 2.0**-6, np.inf, -np.inf, np.nan, 0]))


@pytest.mark.parametrize("storage", ["fp32", "fp64", "fp16"])
def test_the_others_are_numpys(storage: str) -> None:
    values = np.float32([[1.00048828125, 70000.0], [-2.5, 0]]).T

    result = stored(values, storage)

    assert result.dtype == DTYPES[storage]
    assert result.flags.c_contiguous
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(result, values.astype(DTYPES[storage]))
