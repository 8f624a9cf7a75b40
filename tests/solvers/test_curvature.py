"""The pairs of L-BFGS against dense matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nst.backend import Backend
from nst.backend.numpy_backend import NumpyBackend
from nst.errors import SnapshotError
from nst.solvers.curvature import CurvaturePairs

SIZE = 7
Pairs = list[tuple[NDArray[Any], NDArray[Any]]]


def random_pairs(count: int, seed: int = 0) -> Pairs:
    """Steps and gradient changes of a convex quadratic."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(SIZE, SIZE))
    hessian = root @ root.T + np.eye(SIZE)
    steps = rng.normal(size=(count, SIZE))
    return [(s, hessian @ s) for s in steps]


def dense_inverse(pairs: Pairs) -> NDArray[Any]:
    """The BFGS formula for the inverse Hessian, matrix by matrix."""
    s, y = pairs[-1]
    inverse = (s @ y) / (y @ y) * np.eye(len(s))
    for s, y in pairs:
        rho = 1 / (s @ y)
        left = np.eye(len(s)) - rho * np.outer(s, y)
        inverse = left @ inverse @ left.T + rho * np.outer(s, s)
    return inverse


def kept(pairs: Pairs, capacity: int = 10) -> CurvaturePairs:
    memory = CurvaturePairs(capacity, SIZE, np.float64, NumpyBackend())
    for s, y in pairs:
        memory.push(s, y)
    return memory


@pytest.mark.parametrize("count", [1, 3, 6])
def test_the_two_loops_multiply_by_the_dense_inverse(count: int) -> None:
    pairs = random_pairs(count)
    q = np.arange(1.0, SIZE + 1)
    expected = dense_inverse(pairs) @ q

    kept(pairs).apply(q)

    np.testing.assert_allclose(q, expected, rtol=1e-10)


def test_a_full_memory_drops_the_oldest_pair() -> None:
    pairs = random_pairs(8)
    memory, q = kept(pairs, capacity=3), np.arange(1.0, SIZE + 1)
    expected = dense_inverse(pairs[-3:]) @ q

    memory.apply(q)

    assert len(memory) == 3
    np.testing.assert_allclose(q, expected, rtol=1e-10)


def test_held_values_are_left_out_of_the_product() -> None:
    pairs = random_pairs(4)
    free = np.array([1.0, 0, 1, 1, 0, 1, 1])
    inside = free > 0
    q = np.arange(1.0, SIZE + 1) * free
    expected = dense_inverse([(s[inside], y[inside]) for s, y in pairs]) @ q[inside]

    kept(pairs).apply(q, free)

    np.testing.assert_allclose(q[inside], expected, rtol=1e-10)
    np.testing.assert_array_equal(q[~inside], 0)


def test_a_pair_that_curves_down_among_the_free_values_is_left_out() -> None:
    good, other = random_pairs(2)
    free = np.array([1.0, 1, 1, 1, 1, 1, 0])
    bad_y = np.concatenate([-other[0][:6], [1e3 * np.sign(other[0][6])]])
    memory = kept([good, (other[0], bad_y)])
    q = np.arange(1.0, SIZE + 1) * free
    inside = free > 0
    expected = dense_inverse([(good[0][inside], good[1][inside])]) @ q[inside]

    memory.apply(q, free)

    np.testing.assert_allclose(q[inside], expected, rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_the_curvature_test_does_not_depend_on_the_scale_of_the_loss(scale: float) -> None:
    (s, y) = random_pairs(1)[0]
    memory = kept([])

    assert memory.push(s, scale * y)
    assert not memory.push(s, -scale * y)
    assert not memory.push(np.eye(SIZE)[0], scale * np.eye(SIZE)[1])
    assert len(memory) == 1


def test_an_absolute_test_may_be_asked_for() -> None:
    (s, y) = random_pairs(1)[0]
    memory = kept([])

    assert not memory.push(s, y * (0.99e-10 / (s @ y)), least=1e-10)
    assert memory.push(s, y * (1.01e-10 / (s @ y)), least=1e-10)


def test_refused_pairs_leave_the_memory_as_it_was() -> None:
    pairs = random_pairs(3)
    memory, q = kept(pairs, capacity=3), np.arange(1.0, SIZE + 1)
    expected = dense_inverse(pairs) @ q

    memory.push(pairs[0][0], -pairs[0][1])
    memory.apply(q)

    np.testing.assert_allclose(q, expected, rtol=1e-10)


def test_pairs_live_on_every_backend(backend: Backend) -> None:
    pairs = random_pairs(5)
    memory = CurvaturePairs(4, SIZE, np.float32, backend)
    for s, y in pairs:
        memory.push(backend.asarray(s, np.float32), backend.asarray(y, np.float32))
    q = backend.asarray(np.arange(1.0, SIZE + 1), np.float32)
    expected = dense_inverse(pairs[-4:]) @ np.arange(1.0, SIZE + 1)

    memory.apply(q)

    np.testing.assert_allclose(backend.to_host(q), expected, rtol=2e-3)


def test_memory_comes_back_in_order_whatever_the_rows() -> None:
    memory = kept(random_pairs(8), capacity=3)
    copy = CurvaturePairs(3, SIZE, np.float64, NumpyBackend())
    q, same = np.arange(1.0, SIZE + 1), np.arange(1.0, SIZE + 1)

    copy.take(memory.memory(), "")
    for each in (memory, copy):
        each.push(*random_pairs(9)[-1])
    memory.apply(q)
    copy.apply(same)

    np.testing.assert_array_equal(q, same)


def test_a_smaller_memory_takes_the_newest_pairs() -> None:
    pairs = random_pairs(5)
    copy, q = CurvaturePairs(2, SIZE, np.float64, NumpyBackend()), np.arange(1.0, SIZE + 1)
    expected = dense_inverse(pairs[-2:]) @ q

    copy.take(kept(pairs).memory(), "")
    copy.apply(q)

    np.testing.assert_allclose(q, expected, rtol=1e-10)


def test_memory_with_a_vector_missing_is_refused() -> None:
    named = kept(random_pairs(2)).memory()
    del named["lbfgs/y/1"]

    with pytest.raises(SnapshotError, match=r"x.state: L-BFGS vector y/1 .*got None"):
        kept([]).take(named, "x.state")
