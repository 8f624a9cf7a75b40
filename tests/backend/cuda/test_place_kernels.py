"""Kernels that weigh maps place by place or channel by channel, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from backend.cuda.kernel_rig import KernelRig, rounded, to_map, to_planar
from backend.cuda.test_map_kernels import values

SHAPE, PADDED = (1, 17, 13, 11), 24
PLACES = 13 * 11


@pytest.mark.parametrize("adds", [0, 1])
@pytest.mark.parametrize("shifts", [False, True])
def test_maps_are_weighed_and_shifted(
    rig: KernelRig, rng: np.random.Generator, storage: str, shifts: bool, adds: int
) -> None:
    x, before = values(rng, SHAPE, storage), values(rng, SHAPE, storage)
    weights = rng.random(PLACES, np.float32)
    weights[::3] = 0
    shift = rng.standard_normal((17, 2), np.float32)
    out = rig.buffer(to_map(before, storage))
    given = (
        rig.buffer(to_map(x, storage)),
        rig.buffer(weights),
        rig.buffer(shift) if shifts else None,
    )
    sizes = PLACES, 17, PADDED, 0.5, -2.0, adds
    rig.run("weigh_places", storage, PLACES * PADDED // 8, *given, 2, out, *sizes)
    by_place = weights.reshape(1, 1, 13, 11)
    expected = 0.5 * x
    if shifts:
        expected = expected - 2 * shift[:, 0].reshape(1, -1, 1, 1) * by_place
    expected = by_place * expected + adds * before
    found = to_planar(out.read(), 17, storage)
    step = {"fp32": 1e-6, "fp16": 1e-3, "bf16": 8e-3}[storage]  # sums may round to the next number
    np.testing.assert_allclose(found, rounded(expected, storage), rtol=step, atol=step / 10)
    assert not to_planar(out.read(), PADDED, storage)[:, 17:].any()


@pytest.mark.parametrize(("shifts", "adds"), [(True, 0), (False, 0), (False, 1)])
def test_channels_are_scaled_and_shifted(
    rig: KernelRig, rng: np.random.Generator, storage: str, shifts: bool, adds: int
) -> None:
    x, before = values(rng, SHAPE, storage), values(rng, SHAPE, storage)
    factors, shift = rng.standard_normal((2, PADDED), np.float32)
    factors[17:] = shift[17:] = 0
    out = rig.buffer(to_map(before, storage))
    given = (
        rig.buffer(to_map(x, storage)),
        rig.buffer(factors),
        rig.buffer(shift) if shifts else None,
    )
    rig.run("affine_channels", storage, PLACES * 3, *given, out, PLACES, PADDED, 0.25, adds)
    a, b = (vector[:17].reshape(1, -1, 1, 1) for vector in (factors, shift))
    expected = 0.25 * a * x + (b if shifts else 0) + adds * before
    step = {"fp32": 1e-6, "fp16": 1e-3, "bf16": 8e-3}[storage]
    found = to_planar(out.read(), 17, storage)
    np.testing.assert_allclose(found, rounded(expected, storage), rtol=step, atol=step / 10)
    assert not to_planar(out.read(), PADDED, storage)[:, 17:].any()


def test_sums_of_channels_may_be_weighed(
    rig: KernelRig, rng: np.random.Generator, storage: str
) -> None:
    x, weights = values(rng, SHAPE, storage), rng.random(PLACES, np.float32)
    partials = rig.empty((7, PADDED), np.float64)
    given = rig.buffer(to_map(x, storage)), rig.buffer(weights), partials
    rig.run("channel_sums", storage, 7 * PADDED // 8, *given, PLACES, PADDED, 7)
    expected = (x * weights.reshape(1, 1, 13, 11)).sum((0, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(partials.read().sum(0)[:17], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("partials", "expected"), [([0.5, 1.5, 2.0], 0.25), ([0.0, 0.0], 1.0)])
def test_a_sum_is_inverted_unless_it_is_zero(
    rig: KernelRig, partials: list[float], expected: float
) -> None:
    out = rig.empty(1, np.float64)
    there = rig.buffer(np.array(partials))
    rig.run("finish_inverse", "fp32", 256, there, out, len(partials))
    assert out.read()[0] == expected
