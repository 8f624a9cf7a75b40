"""Kernels on maps against the numpy reference: layouts, ReLU and masks, pooling, LRN, borders, sums."""

from __future__ import annotations

import numpy as np
import pytest
from backend.cuda.kernel_rig import (
    Array,
    Buffer,
    KernelRig,
    padded,
    rounded,
    stored,
    to_map,
    to_planar,
    widened,
)

from nst.backend.geometry import PoolGeometry
from nst.backend.numpy_backend import NumpyBackend

REFERENCE = NumpyBackend()
SHAPES = [(1, 3, 1, 1), (2, 5, 7, 9), (1, 17, 5, 4), (1, 100, 3, 5)]
POOLS = [
    ((1, 17, 9, 7), PoolGeometry((3, 3), (2, 2), (0, 0)), (4, 3)),
    ((2, 5, 10, 8), PoolGeometry((3, 3), (2, 2), (0, 0)), (5, 4)),  # Caffe rounds up: an overhang
    ((2, 8, 13, 13), PoolGeometry((3, 3), (1, 1), (1, 1)), (13, 13)),
    ((1, 100, 8, 9), PoolGeometry((3, 2), (2, 3), (1, 1)), (5, 4)),
    ((1, 3, 1, 1), PoolGeometry((2, 2), (2, 2), (0, 0)), (1, 1)),
    ((1, 30, 7, 6), PoolGeometry((7, 6), (1, 1), (0, 0)), (1, 1)),
]
PAIRS = [
    ((1, 17, 9, 7), (5, 4)),
    ((1, 17, 9, 7), (4, 3)),  # rounding down leaves the last row and column out
    ((2, 3, 6, 8), (3, 4)),
    ((1, 100, 1, 1), (1, 1)),
    ((2, 5, 3, 1), (2, 1)),
]


def values(rng: np.random.Generator, shape: tuple[int, ...], storage: str) -> Array:
    """Normal values that the storage holds, with many ties."""
    return rounded(rng.standard_normal(shape, dtype=np.float32).round(1), storage)


def extents(shape: tuple[int, ...], out: tuple[int, int]) -> tuple[int, ...]:
    return shape[0], shape[2], shape[3], padded(shape[1]), *out


def groups(shape: tuple[int, ...]) -> int:
    return shape[0] * shape[2] * shape[3] * padded(shape[1]) // 8


# ---- storage and layout ----------------------------------------------------------------------------


def test_every_half_survives_loading_and_storing(rig: KernelRig) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16)
    out = rig.empty(1 << 16, np.uint16)
    rig.run("relu", "fp16", (1 << 16) // 8, rig.buffer(halves), out, 1.0, (1 << 16) // 8)
    numbers = ~np.isnan(halves.view(np.float16))
    np.testing.assert_array_equal(out.read()[numbers], halves[numbers])
    assert np.isnan(out.read().view(np.float16)[~numbers]).all()


def test_floats_are_stored_to_nearest_even(
    rig: KernelRig, rng: np.random.Generator, storage: str
) -> None:
    ties = (
        np.arange(-4096, 4096, dtype=np.float32) / 4096 + 1
    )  # half-way between bfloat16s and halves
    wide = rng.standard_normal(8192, dtype=np.float32) * 2.0 ** rng.integers(-30, 20, 8192)
    special = np.array(
        [0, -0.0, 65504, 65519.9, 65520, 1e30, -1e30, 6e-8, 2.9e-8, 3e-8], np.float32
    )
    planar = np.concatenate([ties, wide, special]).astype(np.float32).reshape(1, 1, 1, -1)
    out = rig.empty((planar.size, 8), stored(planar, storage).dtype)
    rig.run("to_map", storage, planar.size, rig.buffer(planar), out, 1, 1, 1, planar.size, 8, 1.0)
    np.testing.assert_array_equal(out.read()[:, 0], stored(planar.reshape(-1), storage))
    assert not widened(out.read()[:, 1:], storage).any()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_layouts_convert_into_each_other_and_scale(
    rig: KernelRig, rng: np.random.Generator, storage: str, shape: tuple[int, ...]
) -> None:
    n, c, h, w = shape
    planar = values(rng, shape, storage)
    there = rig.buffer(np.full((n, h, w, padded(c)), 7, stored(planar, storage).dtype))
    sizes = n, c, h, w, padded(c)
    rig.run("to_map", storage, groups(shape), rig.buffer(planar), there, *sizes, 4.0)
    np.testing.assert_array_equal(there.read(), to_map(planar * 4, storage))
    back = rig.buffer(planar)
    rig.run("to_planar", storage, groups(shape), there, back, *sizes, 0.5, 1)
    np.testing.assert_array_equal(back.read(), planar * 3)
    rig.run("to_planar", storage, groups(shape), there, back, *sizes, 0.25, 0)
    np.testing.assert_array_equal(back.read(), planar)


def test_ranges_of_channels_are_copied_or_added(
    rig: KernelRig, rng: np.random.Generator, storage: str
) -> None:
    source, target = values(rng, (2, 11, 3, 2), storage), values(rng, (2, 20, 3, 2), storage)
    out = rig.buffer(to_map(target, storage))
    given = rig.buffer(to_map(source, storage)), 16, 2, out, 24, 13, 5, 12
    rig.run("copy_channels", storage, 12 * 5, *given, 2.0, 0)
    target[:, 13:18] = 2 * source[:, 2:7]
    np.testing.assert_array_equal(to_planar(out.read(), 20, storage), target)
    rig.run("copy_channels", storage, 12 * 5, *given, 2.0, 1)
    target[:, 13:18] += 2 * source[:, 2:7]
    np.testing.assert_array_equal(to_planar(out.read(), 20, storage), rounded(target, storage))


# ---- pointwise -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("slope", [0.0, 0.25])
def test_relu_and_its_mask(
    rig: KernelRig, rng: np.random.Generator, storage: str, slope: float
) -> None:
    x = values(rng, (1, 17, 5, 4), storage)
    there = rig.buffer(to_map(x, storage))
    bits = rig.empty((20, 3), np.uint8)
    rig.run("mask_bits", storage, 60, there, bits, 60)
    unpacked = np.unpackbits(bits.read(), axis=1, bitorder="little")
    np.testing.assert_array_equal(
        unpacked, widened(to_map(x, storage), storage).reshape(20, 24) > 0
    )
    rig.run("relu", storage, 60, there, there, slope, 60)
    expected = np.empty_like(x)
    REFERENCE.relu(x, slope, expected)
    np.testing.assert_array_equal(to_planar(there.read(), 17, storage), rounded(expected, storage))


@pytest.mark.parametrize("gate", ["none", "map", "bits"])
@pytest.mark.parametrize(("second", "slope"), [(False, 0.0), (True, 0.0), (True, 0.5)])
def test_combine_is_a_gated_sum(
    rig: KernelRig, rng: np.random.Generator, storage: str, gate: str, second: bool, slope: float
) -> None:
    a, b, y = (values(rng, (1, 17, 5, 4), storage) for _ in range(3))
    there, other, opener = (rig.buffer(to_map(x, storage)) for x in (a, b, y))
    bits = rig.buffer(np.packbits(widened(to_map(y, storage), storage) > 0, bitorder="little"))
    scalar = rig.buffer([0.5], np.float32)
    rig.run(
        "combine",
        storage,
        60,
        *(there, 2.0, other if second else None, -4.0, scalar if second else None),
        *(opener if gate == "map" else None, bits if gate == "bits" else None),
        *(slope, there, 60),
    )
    total = (2 * a - 4 * b) * np.float32(0.5) if second else 2 * a
    passed = total if gate == "none" else np.where(y > 0, total, slope * total)
    np.testing.assert_array_equal(to_planar(there.read(), 17, storage), rounded(passed, storage))


@pytest.mark.parametrize("rectifies", [0, 1])
def test_bias_is_added_in_place(
    rig: KernelRig, rng: np.random.Generator, storage: str, rectifies: int
) -> None:
    y = values(rng, (2, 17, 3, 2), storage)
    bias = np.zeros(24, np.float32)
    bias[:17] = rng.standard_normal(17)
    there = rig.buffer(to_map(y, storage))
    rig.run("bias_relu", storage, 36, there, rig.buffer(bias), 36, 24, rectifies)
    expected = y + bias[:17].reshape(1, -1, 1, 1)
    if rectifies:
        expected = np.maximum(expected, 0)
    np.testing.assert_array_equal(to_planar(there.read(), 17, storage), rounded(expected, storage))


# ---- pooling -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize(("shape", "out"), PAIRS, ids=str)
def test_pooling_of_pairs_and_its_gradient_through_a_relu(
    rig: KernelRig,
    rng: np.random.Generator,
    storage: str,
    shape: tuple[int, ...],
    out: tuple[int, int],
    rectified: bool,
) -> None:
    n, c, *_ = shape
    x, dy = values(rng, shape, storage), values(rng, (n, c, *out), storage)
    x[:, :, -1:, -1:] = np.nan  # never wins
    if rectified:
        x = np.maximum(x, 0)
    expected, argmax = _reference_max(x, PoolGeometry((2, 2), (2, 2), (0, 0)), out, storage)
    y, count = rig.buffer(to_map(dy * 0 + 5, storage)), groups((n, c, *out))
    winner, positive = rig.empty(count, np.uint16), rig.empty(count, np.uint8)
    sizes = extents(shape, out)
    gate = positive if rectified else None
    rig.run("max_pool_2x2", storage, count, rig.buffer(to_map(x, storage)), y, winner, gate, *sizes)
    np.testing.assert_array_equal(_channels(y, c, storage), expected)
    dx, expected_dx = rig.buffer(to_map(x * 0 + 5, storage)), np.empty_like(x)
    there = rig.buffer(to_map(np.where(argmax < 0, 0, dy), storage))
    rig.run("max_pool_2x2_backward", storage, count, there, winner, gate, dx, *sizes)
    REFERENCE.max_pool_backward(dy, argmax, PoolGeometry((2, 2), (2, 2), (0, 0)), expected_dx)
    if rectified:
        expected_dx *= x > 0
    np.testing.assert_array_equal(_channels(dx, c, storage), expected_dx)


@pytest.mark.parametrize(("shape", "geometry", "out"), POOLS, ids=str)
def test_pooling_of_any_window(
    rig: KernelRig,
    rng: np.random.Generator,
    storage: str,
    shape: tuple[int, ...],
    geometry: PoolGeometry,
    out: tuple[int, int],
) -> None:
    n, c, *_ = shape
    x, dy = values(rng, shape, storage), values(rng, (n, c, *out), storage)
    x[:, :1, :4, :4] = np.nan
    expected, argmax = _reference_max(x, geometry, out, storage)
    sizes = (*extents(shape, out), *geometry.kernel, *geometry.stride, *geometry.pad)
    y = rig.empty(to_map(dy, storage).shape, to_map(dy, storage).dtype)
    code = rig.empty(to_map(dy, storage).size, np.uint8)
    count = groups((n, c, *out))
    rig.run("max_pool", storage, count, rig.buffer(to_map(x, storage)), y, code, *sizes)
    np.testing.assert_array_equal(_channels(y, c, storage), expected)
    dx, expected_dx = rig.empty(to_map(x, storage).shape, to_map(x, storage).dtype), x * 0
    there = rig.buffer(to_map(dy, storage))
    rig.run("max_pool_backward", storage, groups(shape), there, code, dx, *sizes)
    REFERENCE.max_pool_backward(dy, argmax, geometry, expected_dx)
    np.testing.assert_array_equal(_channels(dx, c, storage), rounded(expected_dx, storage))


@pytest.mark.parametrize(("shape", "geometry", "out"), POOLS, ids=str)
def test_mean_pooling(
    rig: KernelRig,
    rng: np.random.Generator,
    storage: str,
    shape: tuple[int, ...],
    geometry: PoolGeometry,
    out: tuple[int, int],
) -> None:
    n, c, *_ = shape
    x, dy = values(rng, shape, storage), values(rng, (n, c, *out), storage)
    expected, expected_dx = np.empty_like(dy), np.empty_like(x)
    REFERENCE.avg_pool(x, geometry, expected)
    REFERENCE.avg_pool_backward(dy, geometry, expected_dx)
    sizes = (*extents(shape, out), *geometry.kernel, *geometry.stride, *geometry.pad)
    there, gradient = rig.buffer(to_map(x, storage)), rig.buffer(to_map(dy, storage))
    y, dx = rig.buffer(to_map(dy * 0, storage)), rig.buffer(to_map(x * 0, storage))
    rig.run("avg_pool", storage, groups((n, c, *out)), there, y, *sizes)
    rig.run("avg_pool_backward", storage, groups(shape), gradient, dx, *sizes)
    np.testing.assert_array_equal(to_planar(y.read(), c, storage), rounded(expected, storage))
    np.testing.assert_array_equal(to_planar(dx.read(), c, storage), rounded(expected_dx, storage))


def test_a_mean_over_no_place_is_not_a_number_as_in_caffe(rig: KernelRig, storage: str) -> None:
    x = np.ones((1, 8, 4, 4), np.float32)
    geometry, out = PoolGeometry((1, 1), (4, 4), (0, 0)), (2, 2)
    expected = np.empty((1, 8, *out), np.float32)
    REFERENCE.avg_pool(x, geometry, expected)
    assert np.isnan(expected).any()
    y = rig.buffer(to_map(expected * 0, storage))
    rig.run(
        "avg_pool",
        storage,
        4,
        rig.buffer(to_map(x, storage)),
        y,
        *extents(x.shape, out),
        1,
        1,
        4,
        4,
        0,
        0,
    )
    np.testing.assert_array_equal(to_planar(y.read(), 8, storage), expected)


def _reference_max(
    x: Array, geometry: PoolGeometry, out: tuple[int, int], storage: str
) -> tuple[Array, Array]:
    """The reference's maxima, the lowest number as the storage has it, and winners."""
    y, argmax = np.empty((*x.shape[:2], *out), np.float32), np.empty((*x.shape[:2], *out), np.int32)
    REFERENCE.max_pool(x, geometry, y, argmax)
    lowest = {"fp16": -65504.0, "bf16": -3.3895313892515355e38}.get(storage, y.min(initial=-1e30))
    return np.where(argmax < 0, np.float32(lowest), y), argmax


def _channels(buffer: Buffer, channels: int, storage: str) -> Array:
    return to_planar(buffer.read(), channels, storage)


# ---- LRN, borders ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 5])
def test_local_response_normalisation(
    rig: KernelRig, rng: np.random.Generator, storage: str, size: int
) -> None:
    alpha, beta, k, unscale = 0.7, 0.75, 1.5, 4.0
    x, dy = values(rng, (2, 17, 3, 2), storage), values(rng, (2, 17, 3, 2), storage)
    real, scale, expected, expected_dx = 4 * x, np.empty_like(x), np.empty_like(x), np.empty_like(x)
    REFERENCE.lrn(real, size, alpha, beta, k, scale, expected)
    norm, y = rig.empty((12, 24), np.float32), rig.buffer(to_map(x * 0, storage))
    there, gradient = rig.buffer(to_map(x, storage)), rig.buffer(to_map(dy, storage))
    sizes = 12, 17, 24, size
    rig.run("lrn", storage, 36, there, norm, y, *sizes, alpha, beta, k, unscale)
    tolerance = {"fp32": 2e-6, "fp16": 1e-3, "bf16": 8e-3}[storage]
    got = to_planar(y.read(), 17, storage)
    np.testing.assert_allclose(got * 4, expected, rtol=tolerance, atol=tolerance)
    dx = rig.buffer(to_map(x * 0, storage))
    factors = alpha, beta, unscale, 0.25
    rig.run("lrn_backward", storage, 36, there, y, norm, gradient, dx, *sizes, *factors)
    REFERENCE.lrn_backward(real, 4 * got, scale, dy, size, alpha, beta, expected_dx)
    got = to_planar(dx.read(), 17, storage)
    np.testing.assert_allclose(4 * got, expected_dx, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mode", ["edge", "reflect", "constant", "wrap"])
def test_borders_and_their_gradients(
    rig: KernelRig, rng: np.random.Generator, storage: str, mode: str
) -> None:
    x, (ph, pw) = values(rng, (2, 5, 4, 3), storage), (3, 2)
    border = ((0, 0), (0, 0), (ph, ph), (pw, pw))
    number = ["edge", "reflect", "constant", "wrap"].index(mode)  # as PadParameter numbers them
    expected = np.pad(x, border, mode=mode)
    y = rig.buffer(to_map(expected * 0 + 5, storage))
    sizes = 2, 4, 3, 8, ph, pw, number
    rig.run("pad", storage, groups(expected.shape), rig.buffer(to_map(x, storage)), y, *sizes)
    np.testing.assert_array_equal(to_planar(y.read()[..., :5], 5, storage), expected)
    dy = rounded(rng.integers(-8, 8, expected.shape).astype(np.float32), storage)  # exact sums
    origins = np.pad(np.arange(x.size).reshape(x.shape), border, mode=mode)
    inside = (
        np.pad(np.ones(x.shape, bool), border, mode=mode) if mode == "constant" else origins >= 0
    )
    expected_dx = np.bincount(origins[inside], dy[inside], x.size).reshape(x.shape)
    dx = rig.buffer(to_map(x * 0 + 5, storage))
    rig.run("pad_backward", storage, groups(x.shape), rig.buffer(to_map(dy, storage)), dx, *sizes)
    np.testing.assert_array_equal(to_planar(dx.read(), 5, storage), expected_dx)


# ---- sums -----------------------------------------------------------------------------------------------


def test_squared_distance_is_the_float64_one(
    rig: KernelRig, rng: np.random.Generator, storage: str
) -> None:
    a, b = (values(rng, (1, 24, 37, 29), storage) for _ in range(2))
    count = groups(a.shape)
    left, right = (rig.buffer(to_map(x, storage)) for x in (a, b))
    partials = rig.reduce("squared_distance", storage, left, 2.0, right, 0.5, ..., count)
    expected = np.square(2 * a.astype(np.float64) - 0.5 * b).sum()
    assert rig.total(partials) == pytest.approx(expected, rel=1e-6)
    out = rig.buffer([3.0], np.float32)
    rig.run("finish_sum", "fp32", 256, partials, out, 5, 0.5, 1)
    assert out.read()[0] == pytest.approx(3 + expected / 2, rel=1e-6)


def test_the_largest_value_and_values_that_are_not_finite(
    rig: KernelRig, rng: np.random.Generator, storage: str
) -> None:
    x = values(rng, (1, 24, 37, 29), storage)
    x[0, 3, 20, 11] = -64
    largest, counter = rig.buffer([0.0], np.float32), rig.buffer([0], np.uint32)
    for expected_count in (0, 3):
        there = rig.buffer(to_map(x, storage))
        rig.run("amax", storage, 5 * 256, there, largest, groups(x.shape))
        rig.run("non_finite", storage, 5 * 256, there, counter, groups(x.shape))
        assert largest.read()[0] == (np.inf if expected_count else 64)
        assert counter.read()[0] == expected_count
        x[0, :3, 5, 5] = np.inf, -np.inf, np.nan


def test_means_of_channels_and_their_gradient(
    rig: KernelRig, rng: np.random.Generator, storage: str
) -> None:
    x = values(rng, (1, 17, 13, 11), storage)
    partials, out = rig.empty((7, 24), np.float64), rig.buffer(np.full((17, 2), 9), np.float32)
    there = rig.buffer(to_map(x, storage))
    rig.run("channel_sums", storage, 7 * 3, there, None, partials, 143, 24, 7)
    rig.run("finish_channel_sums", "fp32", 17 * 256, partials, out, 24, 7, 2, 1 / 143, 0)
    np.testing.assert_allclose(
        out.read()[:, 0], x.mean((0, 2, 3), dtype=np.float64), rtol=1e-5, atol=1e-7
    )
    assert (out.read()[:, 1] == 9).all()
    dx = rig.buffer(to_map(x, storage))
    rig.run("add_channels", storage, 143 * 3, dx, out, 2, 143, 17, 24, 1.0, 2.0)
    expected = x + 2 * out.read()[:, 0].reshape(1, -1, 1, 1)
    np.testing.assert_array_equal(to_planar(dx.read(), 17, storage), rounded(expected, storage))


def test_gram_matrices_become_symmetric_and_gradients_keep_their_range(
    rig: KernelRig, rng: np.random.Generator, storage: str
) -> None:
    d = rng.standard_normal((2, 17, 17), dtype=np.float32) * np.float32(1e-9)
    there, factors = rig.buffer(d), rig.buffer([9, 9, 0, 9], np.float32)
    out = rig.empty((2, 17, 24), stored(d, storage).dtype)
    rig.run("gram_gradient_scale", storage, 5 * 256, there, factors, d.size)
    rig.run("gram_gradient", storage, 2 * 17 * 24, there, out, factors, 2, 17, 24, 2048.0)
    power, inverse = (float(f) for f in factors.read()[:2])
    sum_ = d + d.transpose(0, 2, 1)
    assert power * inverse == 1 and np.frexp(power)[0] == 0.5
    assert power == 1 if storage == "fp32" else 512 < 2 * np.abs(d).max() * power <= 2048
    expected = np.zeros((2, 17, 24), np.float32)
    expected[:, :, :17] = sum_ * np.float32(power)
    np.testing.assert_array_equal(out.read(), stored(expected, storage))
    rig.run("symmetrise", "fp32", d.size, there, 2, 17)
    lower = np.tril(d)
    np.testing.assert_array_equal(there.read(), lower + np.tril(d, -1).transpose(0, 2, 1))
