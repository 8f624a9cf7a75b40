"""Pooling, LRN, Gram, products and vector steps of the CPU engine against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from backend.cpu.oracle import LAYER_TOLERANCE, REFERENCE, normal, relative_error

from nst.backend.cpu import CpuBackend
from nst.backend.geometry import PoolGeometry

POOLS = [
    ((1, 17, 9, 7), PoolGeometry((2, 2), (2, 2), (0, 0)), (5, 4)),  # Caffe rounds up: an overhang
    ((2, 5, 45, 37), PoolGeometry((3, 3), (2, 2), (0, 0)), (22, 18)),
    ((1, 16, 13, 13), PoolGeometry((3, 3), (1, 1), (1, 1)), (13, 13)),
    ((1, 100, 8, 9), PoolGeometry((3, 2), (2, 3), (1, 1)), (5, 4)),
    ((1, 3, 1, 1), PoolGeometry((2, 2), (2, 2), (0, 0)), (1, 1)),
    ((1, 30, 7, 6), PoolGeometry((7, 6), (1, 1), (0, 0)), (1, 1)),
    ((1, 3, 511, 383), PoolGeometry((2, 2), (2, 2), (0, 0)), (256, 192)),
]


@pytest.mark.parametrize(("shape", "geometry", "extent"), POOLS, ids=str)
def test_max_pooling_has_the_same_winners(
    cpu: CpuBackend,
    rng: np.random.Generator,
    shape: tuple[int, ...],
    geometry: PoolGeometry,
    extent: tuple[int, int],
) -> None:
    x = normal(rng, *shape).round(1)  # with ties
    got, expected = (np.full((*shape[:2], *extent), np.nan, np.float32) for _ in range(2))
    winner, right_winner = (np.empty(got.shape, np.int32) for _ in range(2))
    cpu.max_pool(x, geometry, got, winner)
    REFERENCE.max_pool(x, geometry, expected, right_winner)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(winner, right_winner)


@pytest.mark.parametrize(("shape", "geometry", "extent"), POOLS, ids=str)
def test_max_pooling_sends_gradients_to_the_winners(
    cpu: CpuBackend,
    rng: np.random.Generator,
    shape: tuple[int, ...],
    geometry: PoolGeometry,
    extent: tuple[int, int],
) -> None:
    winner = np.empty((*shape[:2], *extent), np.int32)
    REFERENCE.max_pool(normal(rng, *shape), geometry, np.empty(winner.shape, np.float32), winner)
    dy = normal(rng, *winner.shape)
    dx, expected = np.full(shape, np.nan, np.float32), np.empty(shape)
    cpu.max_pool_backward(dy, winner, geometry, dx)
    REFERENCE.max_pool_backward(dy.astype(np.float64), winner, geometry, expected)
    assert relative_error(dx, expected) < LAYER_TOLERANCE


@pytest.mark.parametrize(("shape", "geometry", "extent"), POOLS, ids=str)
def test_mean_pooling_is_the_float64_mean_in_both_directions(
    cpu: CpuBackend,
    rng: np.random.Generator,
    shape: tuple[int, ...],
    geometry: PoolGeometry,
    extent: tuple[int, int],
) -> None:
    x, dy = normal(rng, *shape), normal(rng, *shape[:2], *extent)
    got, expected = np.full(dy.shape, np.nan, np.float32), np.empty(dy.shape)
    cpu.avg_pool(x, geometry, got)
    REFERENCE.avg_pool(x.astype(np.float64), geometry, expected)
    assert relative_error(got, expected) < LAYER_TOLERANCE
    dx, expected = np.full(shape, np.nan, np.float32), np.empty(shape)
    cpu.avg_pool_backward(dy, geometry, dx)
    REFERENCE.avg_pool_backward(dy.astype(np.float64), geometry, expected)
    assert relative_error(dx, expected) < LAYER_TOLERANCE


def test_max_pooling_lets_neither_padding_nor_nan_win(cpu: CpuBackend) -> None:
    x = np.full((1, 1, 3, 3), -5.0, np.float32)
    x[0, 0, 1, 1] = np.nan
    out, winner = np.empty((1, 1, 2, 2), np.float32), np.empty((1, 1, 2, 2), np.int32)
    cpu.max_pool(x, PoolGeometry((2, 2), (2, 2), (1, 1)), out, winner)
    np.testing.assert_array_equal(out, np.full((1, 1, 2, 2), -5.0))
    np.testing.assert_array_equal(winner[0, 0], [[0, 1], [3, 5]])


@pytest.mark.parametrize("beta", [0.75, 0.5, 0.6])
@pytest.mark.parametrize("channels", [1, 3, 17, 100])
def test_lrn_is_the_float64_formula_in_both_directions(
    cpu: CpuBackend, rng: np.random.Generator, channels: int, beta: float
) -> None:
    x, dy = normal(rng, 2, channels, 5, 7), normal(rng, 2, channels, 5, 7)
    out, scale, dx = (np.full(x.shape, np.nan, np.float32) for _ in range(3))
    right_out, right_scale, right_dx = (np.empty(x.shape) for _ in range(3))
    cpu.lrn(x, 5, 1.3, beta, 2.0, scale, out)
    cpu.lrn_backward(x, out, scale, dy, 5, 1.3, beta, dx)
    exact = x.astype(np.float64)
    REFERENCE.lrn(exact, 5, 1.3, beta, 2.0, right_scale, right_out)
    REFERENCE.lrn_backward(exact, right_out, right_scale, dy, 5, 1.3, beta, right_dx)
    assert relative_error(scale, right_scale) < LAYER_TOLERANCE
    assert relative_error(out, right_out) < LAYER_TOLERANCE
    assert relative_error(dx, right_dx) < LAYER_TOLERANCE


@pytest.mark.parametrize("channels", [1, 3, 17, 100, 520])
@pytest.mark.parametrize("positions", [1, 161, 3000])
def test_gram_is_exactly_symmetric_and_the_float64_product(
    cpu: CpuBackend, rng: np.random.Generator, channels: int, positions: int
) -> None:
    x = normal(rng, 2, channels, positions)
    got, expected = np.empty((2, channels, channels), np.float32), np.empty((2, channels, channels))
    cpu.gram(x, 0.3, got)
    REFERENCE.gram(x.astype(np.float64), 0.3, expected)
    assert relative_error(got, expected) < LAYER_TOLERANCE
    np.testing.assert_array_equal(got, got.transpose(0, 2, 1))


@pytest.mark.parametrize("channels", [1, 3, 17, 100, 520])
def test_gram_backward_uses_both_triangles_of_an_unsymmetric_gradient(
    cpu: CpuBackend, rng: np.random.Generator, channels: int
) -> None:
    x, d = normal(rng, 2, channels, 161), normal(rng, 2, channels, channels)
    dx, expected = np.full(x.shape, np.nan, np.float32), np.empty(x.shape)
    cpu.gram_backward(d, x, 0.7, dx)
    REFERENCE.gram_backward(d.astype(np.float64), x.astype(np.float64), 0.7, expected)
    assert relative_error(dx, expected) < LAYER_TOLERANCE


@pytest.mark.parametrize("turn_b", [False, True])
@pytest.mark.parametrize("turn_a", [False, True])
@pytest.mark.parametrize(
    "sizes",
    [(1, 1000, 700), (3, 50, 1025), (64, 70, 600), (5, 17, 1), (7, 45, 3000), (130, 1100, 40)],
    ids=str,
)
def test_matmul_takes_transposed_views_and_accumulates(
    cpu: CpuBackend,
    rng: np.random.Generator,
    sizes: tuple[int, int, int],
    turn_a: bool,
    turn_b: bool,
) -> None:
    m, n, k = sizes
    a = normal(rng, k, m).T if turn_a else normal(rng, m, k)
    b = normal(rng, n, k).T if turn_b else normal(rng, k, n)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    out = np.full((m, n), np.nan, np.float32)
    cpu.matmul(a, b, out)
    assert relative_error(out, exact) < LAYER_TOLERANCE
    cpu.matmul(a, b, out, accumulate=True)
    assert relative_error(out, 2 * exact) < LAYER_TOLERANCE


def test_matmul_multiplies_stacks_of_matrices(cpu: CpuBackend, rng: np.random.Generator) -> None:
    a, b = normal(rng, 3, 5, 9), normal(rng, 9, 4)
    out = np.empty((3, 5, 4), np.float32)
    cpu.matmul(a, b, out)
    assert relative_error(out, a.astype(np.float64) @ b) < LAYER_TOLERANCE


def test_dot_accumulates_in_double(cpu: CpuBackend) -> None:
    a = np.full(20_000_001, 0.1, np.float32)
    assert cpu.dot(a, a) == pytest.approx(20_000_001 * float(np.float32(0.1)) ** 2, rel=1e-12)


def test_axpy_adds_a_multiple_in_place(cpu: CpuBackend, rng: np.random.Generator) -> None:
    x, y = normal(rng, 16_411), normal(rng, 16_411)
    expected = y + np.float32(0.3) * x
    cpu.axpy(0.3, x, y)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("n", [5, 16384 + 37])
@pytest.mark.parametrize("gated", [False, True])
def test_axpy_dot_is_the_gated_sum_and_its_product(
    cpu: CpuBackend, rng: np.random.Generator, n: int, gated: bool
) -> None:
    x, y, z = (normal(rng, n) for _ in range(3))
    gate = (normal(rng, n) > 0).astype(np.float32) if gated else None
    expected = (y.astype(np.float64) + 0.7 * x) * (1 if gate is None else gate)
    product = cpu.axpy_dot(0.7, x, y, z, gate)
    assert relative_error(y, expected) < 1e-6
    assert product == pytest.approx(float(y.astype(np.float64) @ z), rel=1e-12)


def test_sgd_and_adam_steps_are_the_references(cpu: CpuBackend, rng: np.random.Generator) -> None:
    n = 16384 + 37
    single = [normal(rng, n) for _ in range(4)]
    single[3] = np.abs(single[3])
    double = [a.astype(np.float64) for a in single]
    for backend, (data, diff, mean, square) in ((cpu, single), (REFERENCE, double)):
        backend.sgd_step(data, diff, mean, 0.1, 0.9)
        backend.adam_step(data, diff, (mean, square), 0.02, (0.9, 0.99), 1e-3)
    wrong = [
        i
        for i, (a, b) in enumerate(zip(single, double, strict=True))
        if relative_error(a, b) > 1e-6
    ]
    assert wrong == []


@pytest.mark.parametrize("slope", [0.0, 0.1, -0.5])
def test_relu_and_its_gradient_follow_the_slope(
    cpu: CpuBackend, rng: np.random.Generator, slope: float
) -> None:
    x, dy = normal(rng, 1003), normal(rng, 1003)
    out, dx, right_out, right_dx = (np.empty(1003, np.float32) for _ in range(4))
    cpu.relu(x, slope, out)
    cpu.relu_backward(dy, x, slope, dx)
    REFERENCE.relu(x, slope, right_out)
    REFERENCE.relu_backward(dy, x, slope, right_dx)
    np.testing.assert_allclose(out, right_out, rtol=1e-6)
    np.testing.assert_allclose(dx, right_dx, rtol=1e-6)


def test_relu_lets_nan_through(cpu: CpuBackend) -> None:
    x = np.array([np.nan, -1.0, 2.0] * 11, np.float32)
    cpu.relu(x, 0.0, x)
    np.testing.assert_array_equal(x, np.array([np.nan, 0.0, 2.0] * 11, np.float32))


def test_layout_conversion_is_its_own_inverse(cpu: CpuBackend, rng: np.random.Generator) -> None:
    x = normal(rng, 2, 37, 5, 9)
    blocked = cpu.engine.blocked(2, 37, (5, 9))
    blocked.array.fill(np.nan)
    cpu.engine.to_blocked(x, blocked)
    back = np.empty(x.shape, np.float32)
    cpu.engine.to_planar(blocked, back)
    np.testing.assert_array_equal(back, x)
    assert not blocked.array[:, 2, ..., 5:].any()  # 37 = 2 * 16 + 5


def test_float64_is_computed_in_float64(cpu: CpuBackend, rng: np.random.Generator) -> None:
    x = rng.standard_normal((1, 3, 8))
    out = np.empty((1, 3, 3))
    cpu.gram(x, 1.0, out)
    np.testing.assert_allclose(out[0], x[0] @ x[0].T, rtol=1e-14)
