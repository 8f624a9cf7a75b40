"""Layers that undo each other, for any shape: no value is lost, repeated or moved."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.layer_rig import LayerRig

from nst.backend import get_backend

REFERENCE = get_backend("numpy")

SHAPES = st.lists(st.integers(1, 4), min_size=2, max_size=4).map(tuple)


def numbered(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(float(np.prod(shape))).reshape(shape)


@given(SHAPES, st.data())
def test_concat_undoes_slice(shape: tuple[int, ...], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    points = data.draw(st.lists(st.integers(1, max(1, shape[axis] - 1)), unique=True).map(sorted))
    points = [point for point in points if point < shape[axis]]
    x = numbered(shape)
    text = f'type: "Slice" slice_param {{ axis: {axis} slice_point: {points} }}'
    pieces = LayerRig(REFERENCE, text, [x], tops=len(points) + 1).forward()

    (y,) = LayerRig(REFERENCE, f'type: "Concat" concat_param {{ axis: {axis} }}', pieces).forward()

    np.testing.assert_array_equal(y, x)


@given(SHAPES)
def test_reshape_undoes_flatten(shape: tuple[int, ...]) -> None:
    x = numbered(shape)
    (flat,) = LayerRig(REFERENCE, 'type: "Flatten" flatten_param { axis: 0 }', [x]).forward()
    dims = " ".join(f"dim: {size}" for size in shape)

    (y,) = LayerRig(
        REFERENCE, f'type: "Reshape" reshape_param {{ shape {{ {dims} }} }}', [flat]
    ).forward()

    assert flat.shape == (x.size,)
    np.testing.assert_array_equal(y, x)


@given(SHAPES, st.integers(1, 3), st.data())
def test_tile_repeats_the_whole_axis(
    shape: tuple[int, ...], tiles: int, data: st.DataObject
) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = numbered(shape)

    (y,) = LayerRig(
        REFERENCE, f'type: "Tile" tile_param {{ axis: {axis} tiles: {tiles} }}', [x]
    ).forward()

    np.testing.assert_array_equal(y, np.concatenate([x] * tiles, axis=axis))


@given(SHAPES, st.randoms(use_true_random=False))
def test_batch_reindex_by_a_permutation_and_back_changes_nothing(
    shape: tuple[int, ...], random: object
) -> None:
    x = numbered(shape)
    order = list(range(shape[0]))
    random.shuffle(order)  # type: ignore[attr-defined]

    (shuffled,) = LayerRig(REFERENCE, 'type: "BatchReindex"', [x, order]).forward()
    (y,) = LayerRig(REFERENCE, 'type: "BatchReindex"', [shuffled, np.argsort(order)]).forward()

    np.testing.assert_array_equal(y, x)


@given(SHAPES)
def test_log_undoes_exp(shape: tuple[int, ...]) -> None:
    x = numbered(shape) / 20
    settings = "base: 3 scale: 0.5 shift: 0.25"
    (powers,) = LayerRig(REFERENCE, f'type: "Exp" exp_param {{ {settings} }}', [x]).forward()

    (y,) = LayerRig(REFERENCE, 'type: "Log" log_param { base: 3 }', [powers]).forward()

    np.testing.assert_allclose(y, 0.5 * x + 0.25, rtol=1e-6)
