"""Loss weights against the formulas of their papers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nst.errors import UsageError
from nst.proto import StyleTransferParameter
from nst.style.objective import Objective, Tap, content_loss_weight
from nst.style.statistics import style_loss

GRAM = (1, 5, 5)


def half_sum(difference: np.ndarray) -> float:
    """What EUCLIDEAN_LOSS computes before its weight."""
    return float((difference**2).sum() / 2)


@pytest.mark.parametrize(
    ("form", "formula"),
    [
        ("HALF_SUM", lambda d, c: (d**2).sum() / 2),
        ("MEAN", lambda d, c: (d**2).mean()),
        ("GATYS", lambda d, c: (d**2).sum() / (4 * c**2)),
        ("CHANNELS_POW4", lambda d, c: (d**2).sum() / 2 / (4 * c**4)),
    ],
)
def test_a_style_form_is_its_formula(form: str, formula, rng: np.random.Generator) -> None:  # type: ignore[no-untyped-def]
    difference = rng.normal(size=GRAM)
    objective = Objective(
        content=(),
        style=(Tap("x", 0.3),),
        style_weight=7,
        style_loss=StyleTransferParameter.LossForm.Value(form),
    )

    (weight,) = style_loss(objective.style[0], objective, GRAM).loss_weight

    assert weight * half_sum(difference) == pytest.approx(7 * 0.3 * formula(difference, 5))


def test_gatys_form_on_grams_over_hw_is_equation_4(rng: np.random.Generator) -> None:
    channels, positions = 5, 12
    f, s = rng.normal(size=(2, channels, positions))
    objective = Objective(content=(), style=(Tap("x"),), style_loss=StyleTransferParameter.GATYS)

    (weight,) = style_loss(objective.style[0], objective, GRAM).loss_weight
    ours = weight * half_sum((f @ f.T - s @ s.T) / positions)

    equation_4 = ((f @ f.T - s @ s.T) ** 2).sum() / (4 * channels**2 * positions**2)
    assert ours == pytest.approx(equation_4)


def test_the_content_forms_are_their_formulas(rng: np.random.Generator) -> None:
    shape = (1, 4, 3, 2)
    difference = rng.normal(size=shape)
    mean = Objective(
        content=(Tap("x", 2),),
        style=(),
        content_weight=5,
        content_loss=StyleTransferParameter.MEAN,
    )
    half = Objective(content=(Tap("x", 2),), style=(), content_weight=5)

    by_mean = content_loss_weight(mean, mean.content[0], shape) * half_sum(difference)
    by_half = content_loss_weight(half, half.content[0], shape) * half_sum(difference)

    assert by_mean == pytest.approx(10 * (difference**2).mean())
    assert by_half == pytest.approx(10 * (difference**2).sum() / 2)


def test_a_style_form_is_refused_for_content() -> None:
    objective = Objective(content=(Tap("x"),), style=(), content_loss=StyleTransferParameter.GATYS)

    with pytest.raises(UsageError, match="content_loss: no such form for content"):
        content_loss_weight(objective, objective.content[0], (1, 2, 3, 4))


def test_an_objective_without_terms_is_refused() -> None:
    with pytest.raises(UsageError, match="objective: no term"):
        Objective(content=(), style=())


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_weights_must_be_finite_and_not_negative(weight: float) -> None:
    with pytest.raises(UsageError, match="weights must be finite and >= 0"):
        Objective(content=(Tap("x", weight),), style=())
