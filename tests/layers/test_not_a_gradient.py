"""Layers whose backward is by design not the derivative: each against its own documented formula."""

from __future__ import annotations

import numpy as np
import pytest
from support.gradient_cases import NOT_A_GRADIENT, normal
from support.layer_rig import LayerRig

from nst.backend import Backend
from nst.errors import NetError


def test_event_lets_gradients_pass_where_the_feature_is_positive(backend: Backend) -> None:
    x = np.array([[1.0, -2.0, 0.0, 3.0]])
    rig = LayerRig(backend, 'type: "Event"', [x])

    np.testing.assert_array_equal(rig.forward()[0], x)
    np.testing.assert_array_equal(rig.backward([[[5.0, 6, 7, 8]]])[0], [[5, 0, 0, 8]])


def test_event_lets_gradients_pass_where_the_target_is_not_zero(backend: Backend) -> None:
    rig = LayerRig(
        backend,
        'type: "Event" event_param { gate: TARGET_NONZERO }',
        [[[1.0, 1, 1, 1]], [[0.0, 2, -1, 0]]],
    )
    rig.forward()

    dx, target_diff = rig.backward([[[1.0, 2, 3, 4]]], [True, False])

    np.testing.assert_array_equal(dx, [[0, 2, 3, 0]])
    np.testing.assert_array_equal(target_diff, 0)


def test_scalar_hands_the_gradient_on_unchanged_when_told_to(backend: Backend) -> None:
    rig = LayerRig(
        backend,
        'type: "Scalar" scalar_param { value: 1e-4 passthrough_gradient: true }',
        [[1.0, 2, 3]],
    )

    np.testing.assert_allclose(rig.forward()[0], [1e-4, 2e-4, 3e-4])
    np.testing.assert_array_equal(rig.backward([[7.0, 8, 9]])[0], [7, 8, 9])


def test_gram_leaves_its_scale_out_of_the_gradient_when_told_to(backend: Backend) -> None:
    x, dy = normal(1, 3, 2, 2), normal(1, 3, 3, seed=1)
    text = 'type: "Gram" gram_param { alpha: 1e-4 disable_scaling_on_gradient: true }'
    rig = LayerRig(backend, text, [x])
    rows = x.reshape(3, 4)

    np.testing.assert_allclose(rig.forward()[0][0], 1e-4 * rows @ rows.T)
    np.testing.assert_allclose(
        rig.backward([dy])[0].reshape(3, 4), (dy[0] + dy[0].T) @ rows, rtol=1e-12
    )


def test_mvn_takes_eps_out_of_the_slope_of_the_deviation_as_caffe_does(backend: Backend) -> None:
    x, dy, eps = normal(1, 1, 6), normal(1, 1, 6, seed=1), 0.5
    rig = LayerRig(backend, f'type: "MVN" mvn_param {{ eps: {eps} }}', [x])
    y = (x - x.mean()) / (x.std() + eps)

    np.testing.assert_allclose(rig.forward()[0], y)
    np.testing.assert_allclose(
        rig.backward([dy])[0], (dy - dy.mean() - y * (dy * y).mean()) / (x.std() + eps)
    )


def test_contrastive_loss_keeps_unlike_pairs_at_no_distance_finite(backend: Backend) -> None:
    same = np.ones((1, 2))
    rig = LayerRig(backend, 'type: "ContrastiveLoss"', [same, same, [0.0]])

    assert rig.forward()[0] == pytest.approx(0.5)
    np.testing.assert_array_equal(rig.backward([1.0], [True, True, False])[0], 0)


@pytest.mark.parametrize(("kind", "states"), [("RNN", 1), ("LSTM", 2)])
def test_exposed_states_are_constants_to_the_gradient(
    kind: str, states: int, backend: Backend
) -> None:
    text = (
        f'type: "{kind}" recurrent_param {{ num_output: 2 expose_hidden: true '
        'weight_filler { type: "xavier" } }'
    )
    first = [normal(1, 2, 2, seed=i) for i in range(states)]
    rig = LayerRig(backend, text, [normal(3, 2, 4), np.ones((3, 2)), *first], tops=1 + states)
    rig.forward()
    wanted = [True, False, *[True] * states]

    quiet = rig.backward([normal(3, 2, 2), *[np.zeros((1, 2, 2))] * states], wanted)
    loud = rig.backward([normal(3, 2, 2), *[np.ones((1, 2, 2))] * states], wanted)

    np.testing.assert_array_equal(quiet[0], loud[0])
    for d_state in loud[2:]:
        np.testing.assert_array_equal(d_state, 0)


@pytest.mark.parametrize(
    ("text", "bottoms"),
    [
        ('type: "Threshold"', [normal(3)]),
        ('type: "ArgMax"', [normal(2, 3)]),
        ('type: "Accuracy"', [normal(2, 3), [0.0, 1]]),
    ],
)
def test_a_layer_without_a_gradient_says_so(
    text: str, bottoms: list[np.ndarray], backend: Backend
) -> None:
    rig = LayerRig(backend, text, bottoms)
    rig.forward()

    with pytest.raises(NetError, match=r"layer 'layer': \w+ has no gradient"):
        rig.backward([1.0])


def test_every_exception_has_a_reason() -> None:
    assert all(len(reason) > 20 for reason in NOT_A_GRADIENT.values())
