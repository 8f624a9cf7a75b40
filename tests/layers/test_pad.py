"""Pad against written-out borders, and TVLoss in its nine-point form against a naive loop."""

from __future__ import annotations

import numpy as np
import pytest
from support.layer_rig import LayerRig

from nst.backend import Backend
from nst.errors import NetError, ShapeError

X = np.array([[[[1.0, 2, 3], [4, 5, 6]]]])


def padded(backend: Backend, settings: str, x: np.ndarray = X) -> np.ndarray:
    return LayerRig(backend, f'type: "Pad" pad_param {{ {settings} }}', [x]).forward()[0]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("REPLICATE", [[1, 1, 2, 3, 3]] * 2 + [[4, 4, 5, 6, 6]] * 2),
        ("REFLECT", [[5, 4, 5, 6, 5], [2, 1, 2, 3, 2], [5, 4, 5, 6, 5], [2, 1, 2, 3, 2]]),
        ("CIRCULAR", [[6, 4, 5, 6, 4], [3, 1, 2, 3, 1], [6, 4, 5, 6, 4], [3, 1, 2, 3, 1]]),
        ("ZERO", [[0] * 5, [0, 1, 2, 3, 0], [0, 4, 5, 6, 0], [0] * 5]),
    ],
)
def test_the_border_holds_what_the_mode_says(
    mode: str, expected: list[list[float]], backend: Backend
) -> None:
    assert padded(backend, f"pad_h: 1 pad_w: 1 mode: {mode}")[0, 0].tolist() == expected


def test_height_and_width_are_padded_apart(backend: Backend) -> None:
    assert padded(backend, "pad_h: 4 pad_w: 1").shape == (1, 1, 10, 5)


def test_a_mirror_wider_than_the_map_goes_there_and_back(backend: Backend) -> None:
    column = padded(backend, "pad_h: 4 mode: REFLECT")[0, 0, :, 0]
    assert column.tolist() == [1, 4, 1, 4, 1, 4, 1, 4, 1, 4]

    one = padded(backend, "pad_h: 1 pad_w: 2 mode: REFLECT", np.full((1, 1, 1, 1), 7.0))
    assert one.tolist() == np.full((1, 1, 3, 5), 7.0).tolist()


def test_going_round_the_map_more_than_once_is_refused(backend: Backend) -> None:
    assert padded(backend, "pad_h: 2 mode: CIRCULAR").shape == (1, 1, 6, 3)
    with pytest.raises(ShapeError, match="cannot go round the map more than once"):
        padded(backend, "pad_h: 3 mode: CIRCULAR")


def test_a_bottom_that_is_no_picture_is_refused(backend: Backend) -> None:
    with pytest.raises(ShapeError, match="expected 4 axes"):
        padded(backend, "pad_h: 1", np.zeros((2, 3)))


def test_nine_point_variation_is_the_weighted_mean_over_all_neighbours(
    backend: Backend, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(2, 3, 4, 5))
    rig = LayerRig(backend, 'type: "TVLoss" tv_loss_param { form: NINE_POINT }', [x])

    total = 0.0
    for down, right, weight in ((0, 1, 2 / 3), (1, 0, 2 / 3), (1, 1, 1 / 6), (1, -1, 1 / 6)):
        for h in range(4 - down):
            for w in range(max(0, -right), 5 - max(0, right)):
                total += weight * ((x[:, :, h, w] - x[:, :, h + down, w + right]) ** 2).sum()

    assert rig.forward()[0] == pytest.approx(total / x.size, rel=1e-10)


def test_nine_point_variation_of_a_slope_is_the_same_in_every_direction(backend: Backend) -> None:
    y, x = np.mgrid[0:200, 0:200] * 1.0
    losses = [
        LayerRig(
            backend,
            'type: "TVLoss" tv_loss_param { form: NINE_POINT }',
            [(np.cos(a) * x + np.sin(a) * y)[None, None]],
        ).forward()[0]
        for a in (0, 0.3, np.pi / 4, 1.2)
    ]

    np.testing.assert_allclose(losses, losses[0], rtol=1e-2)


def test_nine_point_variation_takes_no_exponent(backend: Backend) -> None:
    with pytest.raises(NetError, match="NINE_POINT takes no beta"):
        LayerRig(backend, 'type: "TVLoss" tv_loss_param { form: NINE_POINT beta: 1.5 }', [X])
