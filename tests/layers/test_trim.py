"""Trim against slices written out."""

from __future__ import annotations

import numpy as np
import pytest
from support.layer_rig import LayerRig

from nst.backend import Backend
from nst.errors import ShapeError


def trimmed(backend: Backend, settings: str, x: np.ndarray) -> np.ndarray:
    return LayerRig(backend, f'type: "Trim" {settings}', [x]).forward()[0]


def test_a_place_on_every_side_is_left_out(backend: Backend) -> None:
    x = np.arange(20.0).reshape(1, 1, 4, 5)

    assert trimmed(backend, "", x)[0, 0].tolist() == [[6, 7, 8], [11, 12, 13]]


def test_a_narrow_map_keeps_its_middle(backend: Backend, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 2, 7))

    wide = trimmed(backend, "trim_param { margin: 2 }", x)
    all_but_one = trimmed(backend, "trim_param { margin: 9 }", x)

    np.testing.assert_allclose(
        wide, x[:, :, :, 2:5], rtol=1e-6
    )  # a height of 2 has no middle to spare
    np.testing.assert_allclose(all_but_one, x[:, :, :, 3:4], rtol=1e-6)


def test_a_margin_of_none_copies(backend: Backend, rng: np.random.Generator) -> None:
    x = rng.normal(size=(1, 2, 3, 3))

    np.testing.assert_allclose(trimmed(backend, "trim_param { margin: 0 }", x), x, rtol=1e-6)


def test_a_bottom_that_is_no_picture_is_refused(backend: Backend) -> None:
    with pytest.raises(ShapeError, match="expected 4 axes"):
        trimmed(backend, "", np.zeros((2, 3)))
