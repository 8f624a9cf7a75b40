"""Kernels on planar arrays against the reference, the layers and the solvers, in float32 and float64."""

from __future__ import annotations

import numpy as np
import pytest
from backend.cuda.kernel_rig import Array, Buffer, KernelRig
from support.layer_rig import LayerRig

from nst.backend.geometry import PoolGeometry
from nst.backend.numpy_backend import NumpyBackend
from nst.solvers.curvature import CurvaturePairs

REFERENCE = NumpyBackend()
DTYPES = {"fp32": np.float32, "fp64": np.float64}
POOLS = [
    ((2, 3, 9, 7), PoolGeometry((2, 2), (2, 2), (0, 0)), (5, 4)),
    ((1, 5, 13, 13), PoolGeometry((3, 3), (1, 1), (1, 1)), (13, 13)),
    ((1, 3, 8, 9), PoolGeometry((3, 2), (2, 3), (1, 1)), (5, 4)),
    ((1, 1, 1, 1), PoolGeometry((2, 2), (2, 2), (0, 0)), (1, 1)),
]


@pytest.fixture(params=["fp32", "fp64"])
def precision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def normal(rng: np.random.Generator, shape: tuple[int, ...], precision: str) -> Array:
    return rng.standard_normal(shape).astype(DTYPES[precision])


@pytest.mark.parametrize(("shape", "geometry", "out"), POOLS, ids=str)
def test_planar_pooling_is_the_reference_to_the_last_bit(
    rig: KernelRig,
    rng: np.random.Generator,
    precision: str,
    shape: tuple[int, ...],
    geometry: PoolGeometry,
    out: tuple[int, int],
) -> None:
    x, dy = normal(rng, shape, precision).round(1), normal(rng, (*shape[:2], *out), precision)
    x[:, 0, :3, :3] = np.nan
    sizes = shape[0] * shape[1], *shape[2:], *out, *geometry.kernel, *geometry.stride, *geometry.pad
    expected, argmax = np.empty_like(dy), np.empty(dy.shape, np.int32)
    REFERENCE.max_pool(x, geometry, expected, argmax)
    there, y, winner = rig.buffer(x), rig.empty(dy.shape, dy.dtype), rig.empty(dy.shape, np.int32)
    rig.run("planar_max_pool", precision, dy.size, there, y, winner, *sizes)
    np.testing.assert_array_equal(y.read(), expected)
    np.testing.assert_array_equal(winner.read(), argmax)
    gradient, dx, expected_dx = rig.buffer(dy), rig.empty(shape, x.dtype), np.empty_like(x)
    rig.run("planar_max_pool_backward", precision, x.size, gradient, winner, dx, *sizes)
    REFERENCE.max_pool_backward(dy, argmax, geometry, expected_dx)
    np.testing.assert_array_equal(dx.read(), expected_dx)
    rig.run("planar_avg_pool", precision, dy.size, there, y, *sizes)
    REFERENCE.avg_pool(x, geometry, expected)
    np.testing.assert_array_equal(y.read(), expected)
    rig.run("planar_avg_pool_backward", precision, x.size, gradient, dx, *sizes)
    REFERENCE.avg_pool_backward(dy, geometry, expected_dx)
    np.testing.assert_array_equal(dx.read(), expected_dx)


@pytest.mark.parametrize("size", [1, 4, 5])
def test_planar_local_response_normalisation(
    rig: KernelRig, rng: np.random.Generator, precision: str, size: int
) -> None:
    x, dy = (normal(rng, (2, 7, 3, 5), precision) for _ in range(2))
    scale, expected, expected_dx = (np.empty_like(x) for _ in range(3))
    REFERENCE.lrn(x, size, 0.5, 0.75, 2.0, scale, expected)
    there, norm, y, dx = rig.buffer(x), *(rig.empty(x.shape, x.dtype) for _ in range(3))
    rig.run("planar_lrn", precision, x.size, there, norm, y, 2, 7, 15, size, 0.5, 0.75, 2.0)
    tolerance = 4 * np.finfo(x.dtype).eps
    np.testing.assert_allclose(y.read(), expected, rtol=tolerance)
    rig.run(
        "planar_lrn_backward",
        precision,
        x.size,
        *(there, y, norm, rig.buffer(dy), dx, 2, 7, 15, size, 0.5, 0.75),
    )
    REFERENCE.lrn_backward(x, expected, scale, dy, size, 0.5, 0.75, expected_dx)
    np.testing.assert_allclose(dx.read(), expected_dx, rtol=8 * tolerance, atol=8 * tolerance)


@pytest.mark.parametrize("slope", [0.0, 0.25])
def test_planar_relu(
    rig: KernelRig, rng: np.random.Generator, precision: str, slope: float
) -> None:
    x, dy = (normal(rng, (333,), precision) for _ in range(2))
    x[7] = 0
    there, out = rig.buffer(x), rig.empty(333, x.dtype)
    expected = np.empty_like(x)
    rig.run("planar_relu", precision, 333, there, out, 333, slope)
    REFERENCE.relu(x, slope, expected)
    np.testing.assert_array_equal(out.read(), expected)
    rig.run("planar_relu_backward", precision, 333, rig.buffer(dy), there, out, 333, slope)
    REFERENCE.relu_backward(dy, x, slope, expected)
    np.testing.assert_array_equal(out.read(), expected)


def test_inner_products_and_steps(rig: KernelRig, rng: np.random.Generator, precision: str) -> None:
    a, b = (normal(rng, (12345,), precision) for _ in range(2))
    left, right = rig.buffer(a), rig.buffer(b)
    partials = rig.reduce("dot", precision, left, right, ..., a.size)
    expected = float(a.astype(np.float64) @ b.astype(np.float64))
    out = rig.empty(1, np.float64)
    rig.run("finish_sum_double", precision, 256, partials, out, 5)
    assert out.read()[0] == pytest.approx(expected, rel=1e-12)
    rig.run("axpy", precision, a.size, left, right, a.size, -0.5, None)
    tolerance = 2 * np.finfo(a.dtype).eps
    np.testing.assert_allclose(right.read(), b - 0.5 * a, rtol=tolerance, atol=tolerance)
    rig.run("axpy", precision, a.size, left, right, a.size, 0.3, rig.buffer([0.5], np.float64))
    expected = b - 0.5 * a.astype(np.float64) + 0.15 * a
    np.testing.assert_allclose(right.read(), expected, rtol=4 * tolerance, atol=4 * tolerance)


def test_products_with_a_gated_vector(
    rig: KernelRig, rng: np.random.Generator, precision: str
) -> None:
    a, b, gate = (normal(rng, (12345,), precision) for _ in range(3))
    there, partials = (rig.buffer(v) for v in (a, b, gate)), rig.empty((2, 5), np.float64)
    rig.run("gated_products", precision, 5 * 256, *there, partials, 12345)
    gated = (gate * b).astype(np.float64)
    np.testing.assert_allclose(partials.read().sum(1), [a @ gated, gated @ gated], rtol=1e-12)


def test_a_sum_is_the_same_in_every_run(rig: KernelRig, rng: np.random.Generator) -> None:
    a = rig.buffer(normal(rng, (100_003,), "fp32"))
    runs = [rig.reduce("dot", "fp32", a, a, ..., 100_003).read() for _ in range(3)]
    np.testing.assert_array_equal(runs[0], runs[1])
    np.testing.assert_array_equal(runs[0], runs[2])


@pytest.mark.parametrize("shape", [(1, 3, 9, 7), (2, 1, 1, 5), (1, 2, 2, 2), (1, 1, 1, 1)], ids=str)
@pytest.mark.parametrize(
    "settings",
    ["", "epsilon: 0.5", "beta: 1.5 epsilon: 0.1", "beta: 1", "beta: 3", "form: NINE_POINT"],
)
def test_total_variation_is_that_of_the_layer(
    rig: KernelRig, rng: np.random.Generator, precision: str, shape: tuple[int, ...], settings: str
) -> None:
    x = normal(rng, shape, precision)
    x[..., -1:, :] = 1  # a flat spot, where beta < 2 has no gradient
    layer = LayerRig(REFERENCE, f"type: 'TVLoss' tv_loss_param {{ {settings} }}", [x])
    (expected,), (expected_dx,) = layer.forward(), layer.backward([1.0])
    nine = "NINE_POINT" in settings
    beta, epsilon = layer.layer.beta, layer.layer.epsilon
    sizes = shape[0] * shape[1], *shape[2:]
    there = rig.buffer(x)
    loss = rig.total(rig.reduce("tv_loss", precision, there, ..., *sizes, beta, epsilon, nine))
    expected = float(expected) * (x.size if nine else 1)
    assert loss == pytest.approx(expected, rel=2e-6 if precision == "fp32" else 1e-12)
    dx, weight = rig.buffer(x * 0 + 3), rig.buffer([1 / x.size if nine else 1], np.float32)
    for adds in (0, 1):
        rig.run(
            "tv_gradient", precision, x.size, there, weight, dx, *sizes, beta, epsilon, nine, adds
        )
    np.testing.assert_allclose(dx.read(), 2 * expected_dx, rtol=3e-5, atol=3e-6)


# ---- the layer that reads the picture ---------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(1, 3, 1, 1), (2, 3, 5, 7), (1, 3, 6, 8), (1, 3, 3, 18)], ids=str
)
@pytest.mark.parametrize("filters", [5, 64, 100])
def test_the_first_convolution_and_its_gradient(
    rig: KernelRig, rng: np.random.Generator, storage: str, shape: tuple[int, ...], filters: int
) -> None:
    from backend.cuda.kernel_rig import padded, stored, to_map, to_planar

    from nst.backend.geometry import ConvGeometry

    geometry = ConvGeometry((3, 3), (1, 1), (1, 1), (1, 1))
    n, _, h, w = shape
    x, weights = normal(rng, shape, "fp32"), normal(rng, (filters, 3, 3, 3), "fp32")
    bias, kp = normal(rng, (filters,), "fp32"), padded(filters)
    expected = np.empty((n, filters, h, w))
    wide = [a.astype(np.float64) for a in (x, weights, bias)]
    REFERENCE.conv(*wide, geometry, expected)
    y = rig.empty((n, h, w, kp), stored(bias, storage).dtype)
    filters_there, sizes = rig.buffer(weights), (n, h, w, filters, kp)
    quads = n * h * -(-w // 4)
    all_threads = quads * kp // 8, quads * 8
    forward_threads, backward_threads = (
        (1, 1) if filters == 100 else all_threads
    )  # one block strides
    rig.run(
        "first_conv",
        storage,
        forward_threads,
        *(rig.buffer(x), filters_there, rig.buffer(bias), y, *sizes, 1, 0.5),
    )
    got = to_planar(y.read(), filters, storage)
    tolerance = {"fp32": 3e-6, "fp16": 1e-3, "bf16": 1e-2}[storage]
    np.testing.assert_allclose(got, np.maximum(expected, 0) / 2, rtol=tolerance, atol=5 * tolerance)

    dy = rng.integers(-4, 5, got.shape).astype(np.float32)
    expected_dx = np.empty(shape)
    REFERENCE.conv_backward_data(
        (dy * (got > 0)).astype(np.float64), wide[1], geometry, expected_dx
    )
    dx, gradient = rig.buffer(x), rig.buffer(to_map(dy, storage))
    rig.run(
        "first_conv_backward",
        storage,
        backward_threads,
        *(gradient, y, filters_there, dx, *sizes, 2.0, 1),
    )
    np.testing.assert_allclose(dx.read(), x + 2 * expected_dx, rtol=2e-5, atol=1e-4)
    rig.run(
        "first_conv_backward",
        storage,
        backward_threads,
        *(gradient, None, filters_there, dx, *sizes, 1.0, 0),
    )
    REFERENCE.conv_backward_data(dy.astype(np.float64), wide[1], geometry, expected_dx)
    np.testing.assert_allclose(dx.read(), expected_dx, rtol=2e-5, atol=1e-4)


# ---- steps of the solvers ---------------------------------------------------------------------------


def test_steps_of_solvers_are_those_of_the_reference(
    rig: KernelRig, rng: np.random.Generator, precision: str
) -> None:
    data, diff, mean, square = (normal(rng, (1000,), precision) for _ in range(4))
    square = np.abs(square)
    there = [rig.buffer(a) for a in (data, diff, mean, square)]
    settings = 0.3, float(np.float32(0.9)), float(np.float32(0.999)), 1e-8
    rig.run("adam_step", precision, 1000, *there, 1000, *settings)
    REFERENCE.adam_step(data, diff, (mean, square), settings[0], settings[1:3], settings[3])
    tolerance = 4 * np.finfo(data.dtype).eps
    for here, exact in zip(there, (data, diff, mean, square), strict=True):
        np.testing.assert_allclose(here.read(), exact, rtol=tolerance, atol=tolerance)
    there = [rig.buffer(a) for a in (data, diff, mean)]
    rig.run("sgd_step", precision, 1000, *there, 1000, 0.3, 0.9)
    REFERENCE.sgd_step(data, diff, mean, 0.3, 0.9)
    for here, exact in zip(there, (data, diff, mean), strict=True):
        np.testing.assert_allclose(here.read(), exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("gated", [False, True])
def test_a_step_and_an_inner_product_in_one_pass(
    rig: KernelRig, rng: np.random.Generator, precision: str, gated: bool
) -> None:
    x, y, z = (normal(rng, (12345,), precision) for _ in range(3))
    gate = (x > 0).astype(x.dtype) if gated else None
    there = rig.buffer(y)
    given = rig.buffer(x), there, rig.buffer(z), None if gate is None else rig.buffer(gate)
    partials = rig.reduce("axpy_dot", precision, *given, ..., x.size, 0.3)
    expected = REFERENCE.axpy_dot(0.3, x, y, z, gate)
    tolerance = 4 * np.finfo(x.dtype).eps
    np.testing.assert_allclose(there.read(), y, rtol=tolerance, atol=tolerance)
    assert rig.total(partials) == pytest.approx(
        expected, rel=1e-4 if precision == "fp32" else 1e-12
    )


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("pairs", [1, 2, 5])
def test_the_two_loop_recursion_is_that_of_the_solver(
    rig: KernelRig, rng: np.random.Generator, pairs: int, gated: bool
) -> None:
    count, threads = 2000, 5 * 256
    reference = CurvaturePairs(pairs, count, "float32", REFERENCE)
    vectors = []
    for _ in range(pairs):
        s = normal(rng, (count,), "fp32")
        vectors.append((s, s * np.float32(1.5) + np.float32(0.1) * normal(rng, (count,), "fp32")))
        assert reference.push(*vectors[-1])
    free = (rng.random(count) < 0.8).astype(np.float32) if gated else np.ones(count, np.float32)
    rows = [_pair(rig, s, y, free) for s, y in vectors]
    newest_s, newest_y = (v.astype(np.float64) * free for v in vectors[-1])
    scale = rig.buffer([newest_s @ newest_y / (newest_y @ newest_y)], np.float64)
    q = normal(rng, (count,), "fp32") * free
    there, gate = rig.buffer(q), rig.buffer(free) if gated else None
    reference.apply(q, free if gated else None)
    partials = [rig.reduce("dot", "fp32", rows[-1][0], there, ..., count), rig.empty(5, np.float64)]
    for i in reversed(range(pairs)):
        _, y, rho, alpha = rows[i]
        given = there, y, rows[i - 1][0] if i else None, gate, *partials, rho, alpha, 5, count
        rig.run("curvature_down", "fp32", threads, *given)
        partials.reverse()
    rig.run("curvature_turn", "fp32", threads, there, rows[0][1], partials[0], scale, count)
    for i in range(pairs):
        s, _, rho, alpha = rows[i]
        following = rows[i + 1][1] if i + 1 < pairs else None
        given = there, s, following, gate, *partials, rho, alpha, 5, count
        rig.run("curvature_up", "fp32", threads, *given)
        partials.reverse()
    np.testing.assert_allclose(there.read(), q, rtol=1e-5, atol=2e-6)


def _pair(rig: KernelRig, s: Array, y: Array, free: Array) -> tuple[Buffer, ...]:
    """s, y, rho within the free values, and room for alpha."""
    rho = 1 / float(s.astype(np.float64) @ (y * free))
    return rig.buffer(s), rig.buffer(y), rig.buffer([rho], np.float64), rig.empty(1, np.float64)
