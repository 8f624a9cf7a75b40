"""Pooling and SPP: Caffe's ceil rule, ties, masks and the windows at the edge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from support.gradient_cases import normal
from support.layer_rig import LayerRig
from support.oracles import naive_avg_pool, naive_max_pool
from support.strategies import PoolProblem, pool_problems

from nst.backend import Backend, get_backend
from nst.errors import NetError, ShapeError

REFERENCE = get_backend("numpy")


def text_of(problem: PoolProblem, extra: str) -> str:
    g = problem.geometry
    return (
        f'type: "Pooling" pooling_param {{ kernel_h: {g.kernel[0]} kernel_w: {g.kernel[1]} '
        f"stride_h: {g.stride[0]} stride_w: {g.stride[1]} pad_h: {g.pad[0]} pad_w: {g.pad[1]} "
        f"{extra} }}"
    )


@given(pool_problems())
def test_maxima_and_mask_equal_the_naive_loop(problem: PoolProblem) -> None:
    g = problem.geometry
    y, mask = LayerRig(REFERENCE, text_of(problem, "pool: MAX"), [problem.x], tops=2).forward()

    naive_y, naive_mask = naive_max_pool(problem.x, g.kernel, g.stride, g.pad)
    np.testing.assert_array_equal(y, naive_y)
    np.testing.assert_array_equal(mask, naive_mask)


@given(pool_problems())
def test_means_equal_the_naive_loop(problem: PoolProblem) -> None:
    g = problem.geometry
    text = text_of(problem, "pool: AVE round_mode: FLOOR")
    (y,) = LayerRig(REFERENCE, text, [problem.x]).forward()

    naive = naive_avg_pool(problem.x, g.kernel, g.stride, g.pad, ceil=False)
    np.testing.assert_allclose(y, naive, atol=1e-12)


def test_a_known_map_gives_known_maxima_and_places(backend: Backend) -> None:
    x = [[[[1.0, 2, 5, 2, 3], [9, 4, 1, 4, 8], [1, 2, 5, 2, 3]]]]
    text = 'type: "Pooling" pooling_param { kernel_size: 2 }'

    y, mask = LayerRig(backend, text, [x], tops=2).forward()

    np.testing.assert_array_equal(y[0, 0], [[9, 5, 5, 8], [9, 5, 5, 8]])
    np.testing.assert_array_equal(mask[0, 0], [[5, 2, 2, 9], [5, 12, 12, 9]])


def test_means_of_a_padded_map_count_the_padding(backend: Backend) -> None:
    text = 'type: "Pooling" pooling_param { pool: AVE kernel_size: 3 pad: 1 }'

    (y,) = LayerRig(backend, text, [np.full((1, 1, 3, 3), 2.0)]).forward()

    corner, edge = 8 / 9, 4 / 3
    expected = [[corner, edge, corner], [edge, 2, edge], [corner, edge, corner]]
    np.testing.assert_allclose(y[0, 0], expected)


def test_a_window_beyond_the_picture_gets_no_gradient(backend: Backend) -> None:
    """kernel 2, stride 3: the last window starts outside; Caffe corrupts memory there."""
    text = 'type: "Pooling" pooling_param { kernel_size: 2 stride: 3 }'
    rig = LayerRig(backend, text, [normal(1, 1, 3, 3)])
    rig.forward()

    (dx,) = rig.backward([np.ones((1, 1, 2, 2))])

    assert dx.sum() == 1


def test_a_number_wins_over_nan(backend: Backend) -> None:
    text = 'type: "Pooling" pooling_param { kernel_size: 2 }'

    (y,) = LayerRig(backend, text, [[[[[np.nan, 1.0], [np.nan, np.nan]]]]]).forward()

    assert y == 1


def test_global_pooling_follows_the_picture(backend: Backend) -> None:
    rig = LayerRig(
        backend,
        'type: "Pooling" pooling_param { pool: AVE global_pooling: true }',
        [normal(1, 2, 4, 5)],
    )
    rig.bottom[0].reshape(1, 2, 7, 3)

    assert rig.forward()[0].shape == (1, 2, 1, 1)


@pytest.mark.parametrize(
    ("fields", "wording"),
    [
        ("kernel_size: 2 pad: 2", r"pad must be smaller than the kernel.*\(2, 2\) vs. \(2, 2\)"),
        ("kernel_size: 2 global_pooling: true", "Global_pooling: true Filter size cannot"),
        ("global_pooling: true stride: 2", "only pad = 0 and stride = 1"),
        ("kernel_size: 2 pool: STOCHASTIC", "STOCHASTIC pooling is not available"),
        ("stride: 2", "Filter size is kernel_size OR kernel_h and kernel_w"),
        ("kernel_size: 0", "Filter dimensions cannot be zero"),
        ("kernel_size: 2 stride: 0", "stride must be positive"),
    ],
)
def test_a_contradictory_window_is_refused(fields: str, wording: str, backend: Backend) -> None:
    with pytest.raises(NetError, match=f"layer 'layer': .*{wording}"):
        LayerRig(backend, f'type: "Pooling" pooling_param {{ {fields} }}', [normal(2, 3, 6, 6)])


def test_a_mask_of_means_is_refused(backend: Backend) -> None:
    text = 'type: "Pooling" pooling_param { pool: AVE kernel_size: 2 }'

    with pytest.raises(NetError, match="only made by MAX pooling"):
        LayerRig(backend, text, [normal(1, 1, 4, 4)], tops=2)


def test_pooling_needs_four_axes(backend: Backend) -> None:
    with pytest.raises(ShapeError, match=r"Input must have 4 axes.*\(2, 3, 6\)"):
        LayerRig(backend, 'type: "Pooling" pooling_param { kernel_size: 2 }', [normal(2, 3, 6)])


def test_a_pyramid_joins_all_its_levels(backend: Backend) -> None:
    x = np.arange(16.0).reshape(1, 1, 4, 4)

    (y,) = LayerRig(backend, 'type: "SPP" spp_param { pyramid_height: 3 }', [x]).forward()

    np.testing.assert_array_equal(y[0], [15, 5, 7, 13, 15, *range(16)])


def test_a_picture_too_small_for_its_pyramid_is_refused(backend: Backend) -> None:
    with pytest.raises(ShapeError, match="too small for pyramid_height 3"):
        LayerRig(backend, 'type: "SPP" spp_param { pyramid_height: 3 }', [normal(1, 1, 5, 5)])
