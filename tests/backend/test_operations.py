"""The contract of every backend: each operation of the interface against the numpy reference in float64.

Runs on each backend that is here, on odd sizes and ragged channels, with results that start as NaN. The CPU
engine's own tests (cpu/) go through its algorithms; these hold what all backends have in common.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nst.backend import Backend, ConvGeometry, PoolGeometry
from nst.backend.numpy_backend import NumpyBackend

REFERENCE = NumpyBackend()
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
"""Relative RMS error allowed for one operation."""

Host = NDArray[Any]


def geometry(
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    pad: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    group: int = 1,
) -> ConvGeometry:
    return ConvGeometry(kernel, stride, pad, dilation, group)


CONVOLUTIONS = {
    "3x3": ((2, 17, 9, 7), 5, geometry((3, 3), pad=(1, 1))),
    "one place": ((1, 1, 1, 1), 3, geometry((3, 3), pad=(1, 1))),
    "picture": ((1, 3, 13, 18), 64, geometry((3, 3), pad=(1, 1))),
    "1x1": ((2, 20, 5, 6), 33, geometry((1, 1))),
    "7x7 stride 2": ((1, 3, 37, 29), 16, geometry((7, 7), (2, 2), (3, 3))),
    "groups": ((1, 12, 11, 9), 8, geometry((5, 5), pad=(2, 2), group=2)),
    "depthwise": ((1, 10, 7, 8), 10, geometry((3, 3), pad=(1, 1), group=10)),
    "dilated": ((1, 9, 14, 15), 7, geometry((3, 3), pad=(2, 3), dilation=(2, 3))),
    "rectangles": ((1, 5, 14, 11), 6, geometry((1, 5), (2, 1), (0, 2))),
    "places that no window reads": ((1, 4, 5, 6), 4, geometry((2, 2), (3, 3))),
}
POOLS = {
    "2x2 of odd sides": ((2, 17, 9, 7), PoolGeometry((2, 2), (2, 2), (0, 0)), (5, 4)),
    "3x3 stride 2": ((1, 5, 14, 10), PoolGeometry((3, 3), (2, 2), (0, 0)), (7, 5)),
    "padded": ((1, 16, 7, 6), PoolGeometry((3, 3), (1, 1), (1, 1)), (7, 6)),
    "rectangles": ((1, 3, 8, 9), PoolGeometry((3, 2), (2, 3), (1, 1)), (5, 4)),
    "one place": ((1, 3, 1, 1), PoolGeometry((2, 2), (2, 2), (0, 0)), (1, 1)),
}
conv_cases = pytest.mark.parametrize("name", CONVOLUTIONS)
pool_cases = pytest.mark.parametrize("name", POOLS)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Operands:
    """Random operands on the host and on the backend."""

    def __init__(self, backend: Backend, rng: np.random.Generator, dtype: str) -> None:
        self.backend, self.rng, self.dtype = backend, rng, dtype

    def normal(self, *shape: int) -> tuple[Host, Any]:
        values = self.rng.standard_normal(shape).astype(self.dtype)
        return values.astype(np.float64), self.here(values)

    def here(self, values: Host) -> Any:
        return self.backend.asarray(values.copy(), values.dtype)

    def nan(self, *shape: int) -> tuple[Host, Any]:
        """Room for a result."""
        return np.full(shape, np.nan), self.here(np.full(shape, np.nan, self.dtype))

    def check(self, got: Any, expected: Host, factor: float = 1) -> None:
        host = np.array(self.backend.to_host(got), np.float64)
        scale = np.sqrt(np.mean(np.square(expected))) or 1.0
        error = np.sqrt(np.mean(np.square(host - expected))) / scale
        assert error < factor * TOLERANCE[self.dtype]


@pytest.fixture
def operands(backend: Backend, rng: np.random.Generator, dtype: str) -> Operands:
    return Operands(backend, rng, dtype)


def conv_shape(name: str) -> tuple[tuple[int, ...], tuple[int, ...], ConvGeometry]:
    """(weights, output, geometry) of a case."""
    (n, c, *extent), outputs, g = CONVOLUTIONS[name]
    spatial = (
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, p, d, k, s in zip(extent, g.pad, g.dilation, g.kernel, g.stride, strict=True)
    )
    return (outputs, c // g.group, *g.kernel), (n, outputs, *spatial), g


@conv_cases
@pytest.mark.parametrize("biased", [False, True])
def test_convolution(operands: Operands, name: str, biased: bool) -> None:
    weights, outputs, g = conv_shape(name)
    (x, x_here), (w, w_here) = operands.normal(*CONVOLUTIONS[name][0]), operands.normal(*weights)
    bias, bias_here = operands.normal(weights[0]) if biased else (None, None)
    expected, out = operands.nan(*outputs)
    REFERENCE.conv(x, w, bias, g, expected)
    operands.backend.conv(x_here, w_here, bias_here, g, out)
    operands.check(out, expected)


@conv_cases
def test_gradients_of_a_convolution(operands: Operands, name: str) -> None:
    weights, outputs, g = conv_shape(name)
    shape = CONVOLUTIONS[name][0]
    (x, x_here), (w, w_here) = operands.normal(*shape), operands.normal(*weights)
    (dy, dy_here), (dw, dw_here) = operands.normal(*outputs), operands.normal(*weights)
    expected, dx = operands.nan(*shape)
    REFERENCE.conv_backward_data(dy, w, g, expected)
    operands.backend.conv_backward_data(dy_here, w_here, g, dx)
    operands.check(dx, expected)
    REFERENCE.conv_backward_weights(x, dy, g, dw)
    operands.backend.conv_backward_weights(x_here, dy_here, g, dw_here)
    operands.check(dw_here, dw)


@pool_cases
def test_pooling_and_its_gradient(operands: Operands, name: str) -> None:
    shape, window, out = POOLS[name]
    (x, x_here), (dy, dy_here) = operands.normal(*shape), operands.normal(*shape[:2], *out)
    x = x.round(1)  # with ties
    x[:, :1, :2, :2] = np.nan
    x_here[...] = operands.here(x.astype(operands.dtype))
    x = np.array(operands.backend.to_host(x_here), np.float64)
    winner, winner_here = (
        np.empty(dy.shape, np.int32),
        operands.here(np.full(dy.shape, 7, np.int32)),
    )
    (y, y_here), (dx, dx_here) = operands.nan(*dy.shape), operands.nan(*shape)
    REFERENCE.max_pool(x, window, y, winner)
    operands.backend.max_pool(x_here, window, y_here, winner_here)
    np.testing.assert_array_equal(operands.backend.to_host(y_here), y.astype(operands.dtype))
    np.testing.assert_array_equal(operands.backend.to_host(winner_here), winner)
    REFERENCE.max_pool_backward(dy, winner, window, dx)
    operands.backend.max_pool_backward(dy_here, winner_here, window, dx_here)
    operands.check(dx_here, dx)


@pool_cases
def test_mean_pooling_and_its_gradient(operands: Operands, name: str) -> None:
    shape, window, out = POOLS[name]
    (x, x_here), (dy, dy_here) = operands.normal(*shape), operands.normal(*shape[:2], *out)
    (y, y_here), (dx, dx_here) = operands.nan(*dy.shape), operands.nan(*shape)
    REFERENCE.avg_pool(x, window, y)
    operands.backend.avg_pool(x_here, window, y_here)
    operands.check(y_here, y)
    REFERENCE.avg_pool_backward(dy, window, dx)
    operands.backend.avg_pool_backward(dy_here, window, dx_here)
    operands.check(dx_here, dx)


@pytest.mark.parametrize("slope", [0.0, 0.25])
def test_relu_and_its_gradient_in_place(operands: Operands, slope: float) -> None:
    (x, x_here), (dy, dy_here) = operands.normal(3, 5, 7), operands.normal(3, 5, 7)
    expected, expected_dx = np.empty(x.shape), np.empty(x.shape)
    REFERENCE.relu(x, slope, expected)
    REFERENCE.relu_backward(dy, x, slope, expected_dx)
    operands.backend.relu_backward(dy_here, x_here, slope, dy_here)
    operands.backend.relu(x_here, slope, x_here)
    operands.check(x_here, expected)
    operands.check(dy_here, expected_dx)


@pytest.mark.parametrize("channels", [1, 7, 17])
def test_local_response_normalisation(operands: Operands, channels: int) -> None:
    shape = 2, channels, 5, 3
    (x, x_here), (dy, dy_here) = operands.normal(*shape), operands.normal(*shape)
    (scale, scale_here), (y, y_here), (dx, dx_here) = (operands.nan(*shape) for _ in range(3))
    REFERENCE.lrn(x, 5, 1.25, 0.75, 2.0, scale, y)
    REFERENCE.lrn_backward(x, y, scale, dy, 5, 1.25, 0.75, dx)
    operands.backend.lrn(x_here, 5, 1.25, 0.75, 2.0, scale_here, y_here)
    operands.backend.lrn_backward(x_here, y_here, scale_here, dy_here, 5, 1.25, 0.75, dx_here)
    for here, exact in ((scale_here, scale), (y_here, y), (dx_here, dx)):
        operands.check(here, exact)


@pytest.mark.parametrize("channels", [1, 17, 64])
def test_gram_matrices_and_their_gradient(operands: Operands, channels: int) -> None:
    (x, x_here), (d, d_here) = (
        operands.normal(2, channels, 161),
        operands.normal(2, channels, channels),
    )
    (gram, gram_here), (dx, dx_here) = operands.nan(*d.shape), operands.nan(*x.shape)
    REFERENCE.gram(x, 0.25, gram)
    operands.backend.gram(x_here, 0.25, gram_here)
    operands.check(gram_here, gram)
    host = operands.backend.to_host(gram_here)
    np.testing.assert_array_equal(host, host.transpose(0, 2, 1))  # to the last bit
    REFERENCE.gram_backward(d, x, 0.5, dx)
    operands.backend.gram_backward(d_here, x_here, 0.5, dx_here)
    operands.check(dx_here, dx)


@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_products_of_transposed_views_and_sums_of_products(
    operands: Operands, turned: tuple[bool, bool]
) -> None:
    m, n, k = 5, 13, 70
    a, a_here = operands.normal(k, m) if turned[0] else operands.normal(m, k)
    b, b_here = operands.normal(n, k) if turned[1] else operands.normal(k, n)
    if turned[0]:
        a, a_here = a.T, a_here.T
    if turned[1]:
        b, b_here = b.T, b_here.T
    _, out = operands.nan(m, n)
    operands.backend.matmul(a_here, b_here, out)
    operands.check(out, a @ b)
    operands.backend.matmul(a_here, b_here, out, accumulate=True)
    operands.check(out, 2 * (a @ b))


def test_products_of_stacks(operands: Operands) -> None:
    (a, a_here), (b, b_here) = operands.normal(3, 5, 9), operands.normal(3, 9, 4)
    _, out = operands.nan(3, 5, 4)
    operands.backend.matmul(a_here, b_here, out)
    operands.check(out, a @ b)


def test_inner_products_are_added_in_float64(operands: Operands) -> None:
    a = np.full(200_001, 0.1, operands.dtype)
    here = operands.here(a)
    expected = 200_001 * float(a[0]) ** 2
    assert operands.backend.dot(here, here) == pytest.approx(expected, rel=1e-12)


def test_axpy_adds_a_multiple_in_place(operands: Operands) -> None:
    (x, x_here), (y, y_here) = operands.normal(7, 143), operands.normal(7, 143)
    operands.backend.axpy(0.3, x_here, y_here)
    operands.check(y_here, y + 0.3 * x)


@pytest.mark.parametrize("gated", [False, True])
def test_a_step_and_an_inner_product_in_one_call(operands: Operands, gated: bool) -> None:
    (x, x_here), (y, y_here), (z, z_here) = (operands.normal(1234) for _ in range(3))
    gate = (z > 0).astype(operands.dtype) if gated else None
    gate_here = None if gate is None else operands.here(gate)
    expected = REFERENCE.axpy_dot(0.3, x, y, z, gate)
    got = operands.backend.axpy_dot(0.3, x_here, y_here, z_here, gate_here)
    operands.check(y_here, y)
    assert got == pytest.approx(expected, rel=1e3 * TOLERANCE[operands.dtype])
    squares = operands.backend.axpy_dot(0.0, x_here, y_here, y_here)
    assert squares == pytest.approx(y @ y, rel=TOLERANCE[operands.dtype])


def test_steps_of_solvers(operands: Operands) -> None:
    exact, here = zip(*(operands.normal(7, 143) for _ in range(3)), strict=True)
    REFERENCE.sgd_step(*exact, 0.3, 0.9)
    operands.backend.sgd_step(*here, 0.3, 0.9)
    for got, expected in zip(here, exact, strict=True):
        operands.check(got, expected)
    exact, here = zip(*(operands.normal(7, 143) for _ in range(4)), strict=True)
    for value in (exact[3], here[3]):
        value *= value  # a mean of squares
    for backend, (data, diff, *moments) in ((REFERENCE, exact), (operands.backend, here)):
        backend.adam_step(data, diff, tuple(moments), 0.3, (0.9, 0.99), 1e-3)
    for got, expected in zip(here, exact, strict=True):
        operands.check(got, expected)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("pairs", [0, 1, 4])
def test_the_two_loop_recursion_is_the_product_with_the_inverse_hessian(
    operands: Operands, pairs: int, gated: bool
) -> None:
    size = 41
    gate = (operands.rng.random(size) < 0.7) * 1.0 if gated else np.ones(size)
    hessian = 0.5 * np.diag(gate)
    given = []
    for _ in range(pairs):
        (s, s_here), (noise, _) = operands.normal(size), operands.normal(size)
        y_here = operands.here((1.5 * s + 0.2 * noise).astype(operands.dtype))
        y = np.array(operands.backend.to_host(y_here), np.float64) * gate
        s = s * gate
        rho = 1 / (s @ y)
        given.append((s_here, y_here, rho))
        turn = np.eye(size) - rho * np.outer(s, y)
        hessian = turn @ hessian @ turn.T + rho * np.outer(s, s)  # BFGS
    q, q_here = operands.normal(size)
    q_here *= operands.here(gate.astype(operands.dtype))
    gate_here = operands.here(gate.astype(operands.dtype)) if gated else None
    operands.backend.two_loop(q_here, given, 0.5, gate_here)
    operands.check(q_here, hessian @ (q * gate))
    assert not np.array(operands.backend.to_host(q_here))[gate == 0].any()


def test_products_with_gated_vectors(operands: Operands) -> None:
    gate, gate_here = operands.normal(3000)
    vectors = [operands.normal(3000) for _ in range(4)]
    pairs = [(a[1], b[1]) for a, b in (vectors[:2], vectors[2:])]
    scratch = operands.here(np.zeros(3000, operands.dtype))
    got = operands.backend.gated_products(pairs, gate_here, scratch)
    for (a, b), products in zip((vectors[:2], vectors[2:]), got, strict=True):
        gated = gate * b[0]
        tolerance = 1e3 * TOLERANCE[operands.dtype]
        assert products == pytest.approx((a[0] @ gated, gated @ gated), rel=tolerance)
