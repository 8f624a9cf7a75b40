"""Warping and its checks against loops that follow the formulas one pixel after the other."""

from __future__ import annotations

import numpy as np
import pytest

from nst.errors import ShapeError
from nst.style.video.flow import reliability, resize_flow, warp

SHAPE = (9, 11)


def constant(u: float, v: float, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.broadcast_to(np.float32([u, v]), (*shape, 2)).copy()


def test_no_motion_changes_no_value(rng: np.random.Generator) -> None:
    picture = rng.uniform(0, 255, (*SHAPE, 3)).astype(np.float32)

    np.testing.assert_array_equal(warp(picture, constant(0, 0)), picture)


def test_whole_pixels_are_taken_from_where_the_flow_points(rng: np.random.Generator) -> None:
    picture = rng.uniform(0, 255, (*SHAPE, 3)).astype(np.float32)

    moved = warp(picture, constant(3, -2))

    np.testing.assert_allclose(moved[2:, :-3], picture[:-2, 3:], atol=1e-4)
    np.testing.assert_allclose(moved[5, -1], picture[3, -1], atol=1e-4)  # the edge goes on


def test_between_pixels_polynomials_of_second_degree_are_exact() -> None:
    y, x = np.mgrid[0:9, 0:11].astype(np.float32)
    picture = np.stack([x * x, 3 * y + x, 2 * y * y - x * y], axis=2)

    moved = warp(picture, constant(0.3, -0.6))

    u, v = x + 0.3, y - 0.6
    expected = np.stack([u * u, 3 * v + u, 2 * v * v - u * v], axis=2)
    np.testing.assert_allclose(moved[2:-2, 1:-2], expected[2:-2, 1:-2], rtol=1e-4, atol=1e-3)


def by_the_formulas(backward: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """Equations 5 and 6, for flows whose vectors are whole pixels."""
    height, width = backward.shape[:2]
    weights = np.zeros((height, width))
    slopes = [np.gradient(backward[..., c], axis=a) for c in (0, 1) for a in (0, 1)]
    for i, j in np.ndindex(height, width):
        u, v = backward[i, j]
        y, x = int(i + v), int(j + u)
        if not (0 <= y < height and 0 <= x < width):
            continue
        w = forward[y, x]
        gap = ((w + backward[i, j]) ** 2).sum()
        if gap > 0.01 * ((w**2).sum() + u * u + v * v) + 0.5:
            continue
        if sum(s[i, j] ** 2 for s in slopes) > 0.01 * (u * u + v * v) + 0.002:
            continue
        weights[i, j] = 1
    return weights


def test_the_checks_are_those_of_the_paper(rng: np.random.Generator) -> None:
    backward = constant(2, 1)
    backward[:4, :5] = (-1, 0)
    forward = constant(-2, -1)
    forward[rng.random(SHAPE) < 0.3] = (5, 5)

    found = reliability(backward, forward)

    np.testing.assert_array_equal(found, by_the_formulas(backward, forward))
    assert 0.1 < found.mean() < 0.9


def test_what_moves_evenly_is_believed_except_where_it_comes_in() -> None:
    found = reliability(constant(2, 0), constant(-2, 0))

    assert found[:, :-2].all()
    assert not found[:, -2:].any()


def test_unknown_flow_is_not_believed_and_moves_nothing(rng: np.random.Generator) -> None:
    picture = rng.uniform(0, 255, (*SHAPE, 3)).astype(np.float32)
    backward, forward = constant(0, 0), constant(0, 0)
    backward[2, 3] = np.nan
    forward[6, 7] = np.nan

    found = reliability(backward, forward)

    assert found[2, 3] == 0
    assert found[6, 7] == 0
    assert found.sum() >= found.size - 6
    np.testing.assert_array_equal(warp(picture, backward), picture)


def test_a_flow_grows_with_its_picture() -> None:
    large = resize_flow(constant(2, 1, (10, 20)), (30, 40))

    assert large.shape == (30, 40, 2)
    np.testing.assert_allclose(large, constant(4, 3, (30, 40)), rtol=1e-6)


def test_another_size_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"got \(9, 11, 2\), expected \(4, 5, 2\)"):
        warp(np.zeros((4, 5, 3)), constant(0, 0))
