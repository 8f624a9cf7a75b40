"""MomentsLoss, RelativeLoss and MMDLoss against the sums of their papers, written out."""

from __future__ import annotations

import numpy as np
import pytest
from support.gradient_cases import raw_moments
from support.layer_rig import LayerRig

from nst.backend import Backend
from nst.errors import NetError, ShapeError
from nst.layers import mmd_loss


def loss(backend: Backend, text: str, *bottoms: np.ndarray) -> float:
    return float(LayerRig(backend, text, bottoms).forward()[0])


def test_moments_loss_is_the_distance_of_means_and_deviations(
    backend: Backend, rng: np.random.Generator
) -> None:
    f, t = rng.normal(size=(2, 3, 8)), 2 + rng.normal(size=(2, 3, 11))

    found = loss(
        backend,
        'type: "MomentsLoss" moments_loss_param { epsilon: 0 }',
        raw_moments(f, diagonal=True),
        raw_moments(t, diagonal=True),
    )

    means = (f.mean(axis=2) - t.mean(axis=2)) ** 2
    deviations = (f.std(axis=2) - t.std(axis=2)) ** 2
    assert found == pytest.approx((means + deviations).sum() / 2, rel=1e-10)


def test_relative_moments_loss_is_measured_by_the_target(
    backend: Backend, rng: np.random.Generator
) -> None:
    f, t = rng.normal(size=(1, 3, 8)), 2 + rng.normal(size=(1, 3, 11))
    pair = raw_moments(f, diagonal=True), raw_moments(t, diagonal=True)

    plain = loss(backend, 'type: "MomentsLoss"', *pair)
    relative = loss(backend, 'type: "MomentsLoss" moments_loss_param { relative: true }', *pair)

    assert relative == pytest.approx(plain / (t**2).mean(axis=2).sum(), rel=1e-10)


def test_constant_channels_cost_nothing_against_themselves(backend: Backend) -> None:
    flat = raw_moments(np.full((1, 2, 5), 3.0), diagonal=True)
    rig = LayerRig(backend, 'type: "MomentsLoss" moments_loss_param { epsilon: 0 }', [flat, flat])

    assert rig.forward()[0] == 0
    assert not rig.backward([1.0], [True, False])[0].any()


def test_relative_loss_is_the_squared_distance_in_units_of_the_target(
    backend: Backend, rng: np.random.Generator
) -> None:
    a, b = rng.normal(size=(2, 3, 4, 5))

    found = loss(backend, 'type: "RelativeLoss"', a, b)

    each = ((a - b) ** 2).sum(axis=(1, 2)) / (b**2).sum(axis=(1, 2))
    assert found == pytest.approx(each.mean(), rel=1e-12)


def test_relative_loss_of_zeros_is_one(backend: Backend, rng: np.random.Generator) -> None:
    assert loss(
        backend, 'type: "RelativeLoss"', np.zeros((2, 6)), rng.normal(size=(2, 6))
    ) == pytest.approx(1)


def test_relative_loss_of_a_target_of_zeros_is_plain(backend: Backend) -> None:
    assert loss(backend, 'type: "RelativeLoss"', np.ones((1, 6)), np.zeros((1, 6))) == 6


def squared_mmd(f: np.ndarray, t: np.ndarray, kernel) -> float:  # type: ignore[no-untyped-def]
    """The definition: three means over all pairs of columns."""

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean([[kernel(x, y) for y in b.T] for x in a.T]))

    return mean(f, f) + mean(t, t) - 2 * mean(f, t)


@pytest.mark.parametrize(
    ("settings", "kernel"),
    [
        ("kernel: LINEAR", lambda x, y: x @ y),
        ("kernel: POLYNOMIAL", lambda x, y: (x @ y) ** 2),
        ("kernel: POLYNOMIAL offset: 1.5", lambda x, y: (x @ y + 1.5) ** 2),
        (
            "kernel: GAUSSIAN bandwidth: 2.5",
            lambda x, y: np.exp(-((x - y) ** 2).sum() / 5),
        ),
    ],
)
def test_mmd_is_its_definition_over_all_pairs(  # type: ignore[no-untyped-def]
    settings: str, kernel, backend: Backend, rng: np.random.Generator
) -> None:
    f, t = rng.normal(size=(2, 3, 7)), rng.normal(size=(2, 3, 5))

    found = loss(backend, f'type: "MMDLoss" mmd_loss_param {{ {settings} }}', f, t)

    expected = np.mean([squared_mmd(f[n], t[n], kernel) for n in range(2)])
    assert found == pytest.approx(expected, rel=1e-10)


def test_the_gaussian_takes_its_bandwidth_from_the_distances_in_the_target(
    backend: Backend, rng: np.random.Generator
) -> None:
    f, t = rng.normal(size=(1, 3, 7)), rng.normal(size=(1, 3, 5))
    pairs = [((x - y) ** 2).sum() for x in t[0].T for y in t[0].T]
    given = f"kernel: GAUSSIAN bandwidth: {np.mean(pairs)}"

    own = loss(backend, 'type: "MMDLoss" mmd_loss_param { kernel: GAUSSIAN }', f, t)

    assert own == pytest.approx(
        loss(backend, f'type: "MMDLoss" mmd_loss_param {{ {given} }}', f, t), rel=1e-9
    )


def test_the_gaussian_is_the_same_taken_in_pieces(
    backend: Backend, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    f, t = rng.normal(size=(1, 3, 7)), rng.normal(size=(1, 3, 5))
    text = 'type: "MMDLoss" mmd_loss_param { kernel: GAUSSIAN }'
    whole = loss(backend, text, f, t)

    monkeypatch.setattr(mmd_loss, "ROWS", 2)

    assert loss(backend, text, f, t) == pytest.approx(whole, rel=1e-12)


def test_gatys_style_term_is_the_quadratic_mmd_over_4_n_squared(
    backend: Backend, rng: np.random.Generator
) -> None:
    f, s = rng.normal(size=(2, 5, 12))
    gatys = ((f @ f.T - s @ s.T) ** 2).sum() / (4 * 5**2 * 12**2)

    mmd = loss(backend, 'type: "MMDLoss" mmd_loss_param { kernel: POLYNOMIAL }', f[None], s[None])

    assert mmd / (4 * 5**2) == pytest.approx(gatys, rel=1e-10)


@pytest.mark.parametrize("field", ["offset", "bandwidth"])
def test_a_negative_kernel_setting_is_refused(field: str, backend: Backend) -> None:
    with pytest.raises(NetError, match=f"{field} must be finite and not negative"):
        loss(
            backend,
            f'type: "MMDLoss" mmd_loss_param {{ {field}: -1 }}',
            np.zeros((1, 2, 3)),
            np.zeros((1, 2, 3)),
        )


@pytest.mark.parametrize(
    ("text", "a", "b", "message"),
    [
        ('type: "MMDLoss"', (1, 2, 3), (1, 3, 3), "with one N and C"),
        ('type: "RelativeLoss"', (1, 4), (1, 5), "differ in count"),
        ('type: "MomentsLoss"', (1, 4, 3), (1, 4, 3), r"one shape \(N, C, 2\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    text: str, a: tuple[int, ...], b: tuple[int, ...], message: str, backend: Backend
) -> None:
    with pytest.raises(ShapeError, match=message):
        loss(backend, text, np.zeros(a), np.zeros(b))
