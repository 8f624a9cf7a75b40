"""The gradient check finds wrong gradients: each fault below must fail it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from support.gradcheck import check_gradients, off_kinks
from support.gradient_cases import normal

from nst.backend import Backend
from nst.core import Blob
from nst.layers.gram import Gram
from nst.layers.inner_product import InnerProduct

Backward = Callable[[Gram, Sequence[Blob], Sequence[bool], Sequence[Blob]], None]


def _no_transpose(
    layer: Gram, top: Sequence[Blob], down: Sequence[bool], bottom: Sequence[Blob]
) -> None:
    x = bottom[0].data.reshape(2, 3, -1)
    bottom[0].diff[...] = (2 * top[0].diff @ x).reshape(bottom[0].shape)


def _unwritten_corner(
    layer: Gram, top: Sequence[Blob], down: Sequence[bool], bottom: Sequence[Blob]
) -> None:
    x, dy = bottom[0].data.reshape(2, 3, -1), top[0].diff
    dx = ((dy + dy.transpose(0, 2, 1)) @ x).reshape(bottom[0].shape)
    bottom[0].diff[..., 1:] = dx[..., 1:]


def _adding(layer: Gram, top: Sequence[Blob], down: Sequence[bool], bottom: Sequence[Blob]) -> None:
    x, dy = bottom[0].data.reshape(2, 3, -1), top[0].diff
    bottom[0].diff[...] += ((dy + dy.transpose(0, 2, 1)) @ x).reshape(bottom[0].shape)


@pytest.mark.parametrize("fault", [_no_transpose, _unwritten_corner, _adding])
def test_a_wrong_backward_is_found(
    fault: Backward, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gram, "backward", fault)

    with pytest.raises(AssertionError, match=r"gradient check of `type: \"Gram\"`.*bottom 0"):
        check_gradients(backend, 'type: "Gram"', [normal(2, 3, 2, 2)])


def test_a_scale_missing_from_the_gradient_is_found(backend: Backend) -> None:
    text = 'type: "Gram" gram_param { alpha: 0.5 disable_scaling_on_gradient: true }'

    with pytest.raises(AssertionError, match=r"numeric .*, analytic .*relative error"):
        check_gradients(backend, text, [normal(1, 3, 2, 2)])


def test_a_parameter_gradient_that_overwrites_is_found(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = InnerProduct.backward

    def overwriting(
        layer: InnerProduct, top: Sequence[Blob], down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        layer.params[0].diff[...] = 0
        right(layer, top, down, bottom)

    monkeypatch.setattr(InnerProduct, "backward", overwriting)

    with pytest.raises(AssertionError, match="parameter 0"):
        check_gradients(
            backend, 'type: "InnerProduct" inner_product_param { num_output: 2 }', [normal(3, 4)]
        )


def test_off_kinks_moves_values_out_of_the_margin_and_no_others() -> None:
    moved = off_kinks(np.array([-1.0, -0.01, 0.0, 0.02, 0.4]))

    np.testing.assert_allclose(moved, [-1, -0.05, 0.05, 0.05, 0.4])
