"""Statistics under a mask against naive loops, the Mask layer, and what both refuse."""

from __future__ import annotations

import numpy as np
import pytest
from support.layer_rig import LayerRig

from nst.backend import Backend
from nst.errors import NetError, ShapeError


def of(backend: Backend, text: str, *bottoms: np.ndarray) -> np.ndarray:
    return LayerRig(backend, text, list(bottoms)).forward()[0]


@pytest.fixture
def features(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(1, 3, 4, 5))


@pytest.fixture
def mask(rng: np.random.Generator) -> np.ndarray:
    """Soft weights with places that do not count at all."""
    return rng.uniform(-0.4, 1, (1, 1, 4, 5)).clip(0, None)


@pytest.mark.parametrize(
    ("normalize", "divisor"),
    [("NONE", lambda m, c: 1), ("HW", lambda m, c: m), ("CHW", np.multiply)],
)
def test_a_guided_gram_is_the_weighted_sum_over_places(
    normalize: str, divisor, features: np.ndarray, mask: np.ndarray, backend: Backend
) -> None:
    y = of(
        backend, f'type: "Gram" gram_param {{ alpha: 2 normalize: {normalize} }}', features, mask
    )

    expected = np.zeros((3, 3))
    for h in range(4):
        for w in range(5):
            column = features[0, :, h, w]
            expected += 2 * mask[0, 0, h, w] * np.outer(column, column)
    np.testing.assert_allclose(y[0], expected / divisor(mask.sum(), 3), rtol=1e-12)


def test_guided_moments_are_weighted_means(
    features: np.ndarray, mask: np.ndarray, backend: Backend
) -> None:
    y = of(backend, 'type: "Moments" moments_param { mean_scale: 3 }', features, mask)
    diagonal = of(backend, 'type: "Moments" moments_param { second: DIAGONAL }', features, mask)

    weights = mask[0, 0] / mask.sum()
    mean = (features[0] * weights).sum(axis=(1, 2))
    second = np.einsum("chw,dhw,hw->cd", features[0], features[0], weights)
    np.testing.assert_allclose(y[0], np.column_stack([3 * mean, second]), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(
        diagonal[0], np.column_stack([mean, np.diag(second)]), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("kind", ["Gram", "Moments"])
def test_the_size_of_a_region_and_the_level_of_its_mask_do_not_count(
    kind: str, rng: np.random.Generator, backend: Backend
) -> None:
    """The same patch inside a large map and alone, under any grey, has the same statistics."""
    patch, around = rng.normal(size=(1, 3, 2, 3)), rng.normal(size=(1, 3, 6, 7))
    around[:, :, 1:3, 2:5] = patch
    mask = np.zeros((1, 1, 6, 7))
    mask[:, :, 1:3, 2:5] = 0.3
    text = f'type: "{kind}"' + (" gram_param { normalize: HW }" if kind == "Gram" else "")

    np.testing.assert_allclose(
        of(backend, text, around, mask), of(backend, text, patch), rtol=1e-12
    )


@pytest.mark.parametrize("kind", ["Gram", "Moments"])
def test_what_lies_outside_changes_nothing_and_gets_no_gradient(
    kind: str, features: np.ndarray, mask: np.ndarray, backend: Backend
) -> None:
    other = np.where(mask > 0, features, features + 9)
    rigs = [LayerRig(backend, f'type: "{kind}"', [x, mask]) for x in (features, other)]

    first, second = (rig.forward()[0] for rig in rigs)
    gradient = rigs[0].backward([np.ones(first.shape)], [True, False])[0]

    np.testing.assert_array_equal(first, second)
    assert not gradient[np.broadcast_to(mask == 0, gradient.shape)].any()


def test_a_mask_may_change_from_run_to_run(
    features: np.ndarray, mask: np.ndarray, backend: Backend
) -> None:
    rig = LayerRig(backend, 'type: "Gram"', [features, mask])
    rig.forward()

    rig.bottom[1].data[...] = 1
    after = rig.forward()[0]

    np.testing.assert_allclose(after, of(backend, 'type: "Gram"', features), rtol=1e-12)


def test_without_scaling_the_gradient_leaves_alpha_and_the_area_out(
    features: np.ndarray, mask: np.ndarray, rng: np.random.Generator, backend: Backend
) -> None:
    rig = LayerRig(
        backend,
        'type: "Gram" gram_param { alpha: 5 normalize: HW disable_scaling_on_gradient: true }',
        [features, mask],
    )
    rig.forward()
    dy = rng.normal(size=(1, 3, 3))

    dx = rig.backward([dy], [True, False])[0]

    expected = np.einsum("cd,dhw->chw", dy[0] + dy[0].T, features[0] * mask[0])
    np.testing.assert_allclose(dx[0], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["Gram", "Moments"])
def test_a_region_of_nothing_has_statistics_of_zero(
    kind: str, features: np.ndarray, backend: Backend
) -> None:
    rig = LayerRig(backend, f'type: "{kind}"', [features, np.zeros((1, 1, 4, 5))])

    y = rig.forward()[0]
    dx = rig.backward([np.ones(y.shape)], [True, False])[0]

    assert not y.any()
    assert not dx.any()


@pytest.mark.parametrize("kind", ["Gram", "Moments"])
def test_bad_masks_are_refused(kind: str, features: np.ndarray, backend: Backend) -> None:
    with pytest.raises(ShapeError, match=r"one weight per place .*expected \(1, 1, 4, 5\)"):
        LayerRig(backend, f'type: "{kind}"', [features, np.ones((1, 1, 4, 4))])
    with pytest.raises(NetError, match=r"no values below 0 \(got -1"):
        LayerRig(backend, f'type: "{kind}"', [features, -np.ones((1, 1, 4, 5))]).forward()
    rig = LayerRig(backend, f'type: "{kind}"', [features, np.ones((1, 1, 4, 5))])
    with pytest.raises(NetError, match="no gradient goes to the mask"):
        rig.backward([rig.forward()[0]], [True, True])


def test_a_mask_layer_weighs_every_channel_alike(
    features: np.ndarray, mask: np.ndarray, backend: Backend
) -> None:
    y = of(backend, 'type: "Mask"', features, mask)

    for channel in range(3):
        np.testing.assert_array_equal(y[0, channel], features[0, channel] * mask[0, 0])


def test_a_mask_layer_refuses_a_mask_of_another_size(
    features: np.ndarray, backend: Backend
) -> None:
    with pytest.raises(ShapeError, match="one weight per place"):
        of(backend, 'type: "Mask"', features, np.ones((1, 3, 4, 5)))
