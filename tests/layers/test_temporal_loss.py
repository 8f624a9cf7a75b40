"""TemporalLoss against equation 7 of Ruder et al., written out."""

from __future__ import annotations

import numpy as np
import pytest
from support.gradient_cases import frames
from support.layer_rig import LayerRig

from nst.backend import Backend
from nst.errors import NetError, ShapeError

PLAIN = 'type: "TemporalLoss"'
RELATIVE = 'type: "TemporalLoss" temporal_loss_param { relative: true }'


def by_hand(x: np.ndarray, warped: np.ndarray, weights: np.ndarray) -> float:
    """The sum over every value, one after the other."""
    return sum(
        float(weights[n, 0, i, j]) * float(x[n, c, i, j] - warped[n, c, i, j]) ** 2
        for n, c, i, j in np.ndindex(*x.shape)
    )


def test_it_is_the_weighted_mean_of_squares(backend: Backend) -> None:
    x, warped, weights = frames(2, 3, 4, 5)

    found = LayerRig(backend, PLAIN, [x, warped, weights]).forward()[0]

    assert found == pytest.approx(by_hand(x, warped, weights) / (2 * 3 * 4 * 5), rel=1e-12)


def test_relative_is_measured_by_the_warped_frame(backend: Backend) -> None:
    x, warped, weights = frames(1, 3, 4, 5)

    found = LayerRig(backend, RELATIVE, [x, warped, weights]).forward()[0]

    assert found == pytest.approx(by_hand(x, warped, weights) / (warped**2).sum(), rel=1e-12)


def test_relative_to_nothing_is_the_plain_sum(backend: Backend) -> None:
    x, warped, weights = np.ones((1, 3, 2, 2)), np.zeros((1, 3, 2, 2)), np.ones((1, 1, 2, 2))

    assert LayerRig(backend, RELATIVE, [x, warped, weights]).forward()[0] == 12


def test_occluded_places_are_free(backend: Backend) -> None:
    x, warped, weights = frames(1, 3, 4, 5)
    weights[..., :2] = 0
    moved = x.copy()
    moved[..., :2] += 100

    rig = LayerRig(backend, PLAIN, [moved, warped, weights])

    assert rig.forward()[0] == LayerRig(backend, PLAIN, [x, warped, weights]).forward()[0]
    gradient = rig.backward([1.0], [True, False, False])[0]
    assert not gradient[..., :2].any()
    assert gradient[..., 2:].any()


@pytest.mark.parametrize(
    ("warped", "weights", "words"),
    [
        ((1, 3, 4, 4), (1, 1, 4, 5), r"frame and warped frame differ \(got \(1, 3, 4, 5\)"),
        ((1, 3, 4, 5), (1, 3, 4, 5), r"one weight per pixel .*expected \(1, 1, 4, 5\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    warped: tuple[int, ...], weights: tuple[int, ...], words: str, backend: Backend
) -> None:
    bottoms = [np.zeros((1, 3, 4, 5)), np.zeros(warped), np.zeros(weights)]

    with pytest.raises(ShapeError, match=words):
        LayerRig(backend, PLAIN, bottoms)


def test_the_warped_frame_receives_no_gradient(backend: Backend) -> None:
    rig = LayerRig(backend, PLAIN, list(frames(1, 3, 4, 5)))
    rig.forward()

    with pytest.raises(NetError, match="cannot backpropagate to target"):
        rig.backward([1.0], [True, True, False])
