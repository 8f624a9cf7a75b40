"""What the oracle does not show of the smaller layers: corner values, defaults, numbers that change."""

from __future__ import annotations

import numpy as np
import pytest
from support.gradient_cases import normal
from support.layer_rig import LayerRig, write

from nst.backend import Backend
from nst.core import TRAIN


def test_threshold_is_strict(backend: Backend) -> None:
    text = 'type: "Threshold" threshold_param { threshold: 0.5 }'

    (y,) = LayerRig(backend, text, [[0.4, 0.5, 0.6]]).forward()

    np.testing.assert_array_equal(y, [0, 0, 1])


def test_threshold_is_at_zero_by_default(backend: Backend) -> None:
    (y,) = LayerRig(backend, 'type: "Threshold"', [[-1.0, 0, 1]], in_place=True).forward()

    np.testing.assert_array_equal(y, [0, 0, 1])


def test_a_cube_through_zero_has_a_gradient(backend: Backend) -> None:
    rig = LayerRig(backend, 'type: "Power" power_param { power: 3 }', [[0.0, 2]])
    rig.forward()

    np.testing.assert_array_equal(rig.backward([[1.0, 1]])[0], [0, 12])


@pytest.mark.parametrize("kind", ["Sigmoid", "TanH", "BNLL", "Swish", "ELU"])
def test_extreme_values_stay_finite(kind: str, backend: Backend) -> None:
    rig = LayerRig(backend, f'type: "{kind}"', [[-1000.0, 1000.0]], dtype=np.float32)

    assert np.isfinite(rig.forward()[0]).all()
    assert np.isfinite(rig.backward([[1.0, 1.0]])[0]).all()


def test_clip_in_place_stops_gradients_outside_the_range(backend: Backend) -> None:
    text = 'type: "Clip" clip_param { min: -1 max: 1 }'
    rig = LayerRig(backend, text, [[-2.0, 0.5, 2]], in_place=True)

    np.testing.assert_array_equal(rig.forward()[0], [-1, 0.5, 1])
    np.testing.assert_array_equal(rig.backward([[1.0, 1, 1]])[0], [0, 1, 0])


def test_batch_norm_remembers_the_batches_it_saw(backend: Backend) -> None:
    x = normal(8, 2)
    text = 'type: "BatchNorm" batch_norm_param { moving_average_fraction: 0.5 }'
    rig = LayerRig(backend, text, [x], phase=TRAIN)

    rig.forward()
    rig.forward()

    mean, variance, weight = (blob.to_host() for blob in rig.params)
    assert weight == pytest.approx(1.5)
    np.testing.assert_allclose(mean / weight, x.mean(axis=0))
    np.testing.assert_allclose(variance / weight, x.var(axis=0, ddof=1))


def test_batch_norm_freezes_its_statistics(backend: Backend) -> None:
    rig = LayerRig(backend, 'type: "BatchNorm"', [normal(4, 2)])

    assert [spec.lr_mult for spec in rig.layer.param.param] == [0, 0, 0]


def test_batch_norm_survives_an_in_place_layer_on_its_top(backend: Backend) -> None:
    rig = LayerRig(backend, 'type: "BatchNorm"', [normal(8, 2)], phase=TRAIN)
    dy = normal(8, 2, seed=1)
    rig.forward()
    (clean,) = rig.backward([dy])

    write(rig.top[0], "data", 0)

    np.testing.assert_array_equal(rig.backward([dy])[0], clean)


def test_equal_largest_values_come_later_index_first(backend: Backend) -> None:
    text = 'type: "ArgMax" argmax_param { top_k: 3 out_max_val: true }'

    (y,) = LayerRig(backend, text, [[[1.0, 3, 2, 3]]]).forward()

    np.testing.assert_array_equal(y, [[[3, 1, 2], [3, 3, 2]]])


def test_filter_may_select_nothing(backend: Backend) -> None:
    rig = LayerRig(backend, 'type: "Filter"', [normal(3, 2), np.zeros(3)])

    assert rig.forward()[0].shape == (0, 2)
    np.testing.assert_array_equal(rig.backward([np.zeros((0, 2))], [True, False])[0], 0)


def test_the_reference_of_a_crop_gets_a_zero_gradient(backend: Backend) -> None:
    rig = LayerRig(backend, 'type: "Crop"', [normal(1, 1, 3, 3), normal(1, 1, 2, 2)])
    rig.forward()

    np.testing.assert_array_equal(rig.backward([1.0], [True, True])[1], 0)


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ("shape { dim: 0 dim: -1 }", (2, 12)),
        ("shape { dim: 6 dim: 4 }", (6, 4)),
        ("shape { dim: 1 dim: 1 } axis: -1", (2, 3, 4, 1, 1)),
        ("shape { dim: 2 dim: 2 } axis: -2 num_axes: 1", (2, 3, 2, 2)),
        ("shape { dim: 1 } axis: 1 num_axes: 0", (2, 1, 3, 4)),
        ("shape { dim: -1 } num_axes: 2", (6, 4)),
        ("shape { dim: 0 } axis: 1 num_axes: 1", (2, 3, 4)),
    ],
)
def test_reshape_counts_axes_as_caffe_does(
    fields: str, shape: tuple[int, ...], backend: Backend
) -> None:
    text = f'type: "Reshape" reshape_param {{ {fields} }}'

    assert LayerRig(backend, text, [normal(2, 3, 4)]).forward()[0].shape == shape


@pytest.mark.parametrize(
    ("text", "bottoms"),
    [
        ('type: "EuclideanLoss"', [(0, 3), (0, 3)]),
        ('type: "SoftmaxWithLoss"', [(0, 3), (0,)]),
        ('type: "SigmoidCrossEntropyLoss"', [(0, 3), (0, 3)]),
        ('type: "HingeLoss"', [(0, 3), (0,)]),
        ('type: "MultinomialLogisticLoss"', [(0, 3), (0,)]),
        ('type: "ContrastiveLoss"', [(0, 3), (0, 3), (0,)]),
        ('type: "Accuracy"', [(0, 3), (0,)]),
        ('type: "Reduction"', [(0, 3)]),
    ],
)
def test_an_empty_batch_behind_a_filter_costs_nothing(
    text: str, bottoms: list[tuple[int, ...]], backend: Backend
) -> None:
    rig = LayerRig(backend, text, [np.zeros(shape) for shape in bottoms])

    assert rig.forward()[0] == 0


@pytest.mark.parametrize(
    ("text", "shape", "out"),
    [
        ('type: "InnerProduct" inner_product_param { num_output: 2 }', (0, 3, 2), (0, 2)),
        ('type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 }',
         (0, 3, 2, 2), (0, 2, 2, 2)),
        ('type: "Pooling" pooling_param { kernel_size: 2 }', (0, 3, 2, 2), (0, 3, 1, 1)),
        ('type: "Softmax"', (0, 3), (0, 3)),
        ('type: "Tile" tile_param { tiles: 2 }', (0, 3), (0, 6)),
        ('type: "Flatten"', (0, 3, 2), (0, 6)),
    ],
)  # fmt: skip
def test_an_empty_batch_passes_through(
    text: str, shape: tuple[int, ...], out: tuple[int, ...], backend: Backend
) -> None:
    rig = LayerRig(backend, text, [np.zeros(shape)])

    assert rig.forward()[0].shape == out
    assert rig.backward([np.zeros(out)])[0].shape == shape
