"""Transformer: the recorded numbers, the inverse, and refusals in pycaffe's words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nst.errors import NstError
from nst.pycaffe.io import Transformer

RECORD = np.load(Path(__file__).resolve().parent.parent / "data/pyapi/io.npz")
CLOSE: dict[str, float] = {"rtol": 0, "atol": 2e-6}


def transformer(mean: Any = (104, 117, 123)) -> Transformer:
    """The one whose numbers were recorded."""
    made = Transformer({"data": (1, 3, 16, 12)})
    made.set_transpose("data", (2, 0, 1))
    made.set_channel_swap("data", (2, 1, 0))
    made.set_raw_scale("data", 255)
    made.set_mean("data", np.array(mean))
    made.set_input_scale("data", 0.017)
    return made


def test_a_picture_is_resized_and_transformed_as_recorded() -> None:
    np.testing.assert_allclose(
        transformer().preprocess("data", RECORD["img"]), RECORD["pre"], **CLOSE
    )


def test_a_mean_picture_is_subtracted_as_recorded() -> None:
    made = transformer(RECORD["mean2d"])

    np.testing.assert_allclose(
        made.preprocess("data", RECORD["img"]), RECORD["pre_mean2d"], **CLOSE
    )
    np.testing.assert_allclose(
        made.preprocess("data", RECORD["img_same"]), RECORD["pre_same"], **CLOSE
    )


def test_deprocess_gives_the_recorded_pictures_back() -> None:
    np.testing.assert_allclose(
        transformer().deprocess("data", RECORD["pre"]), RECORD["depre"], **CLOSE
    )
    np.testing.assert_allclose(
        transformer(RECORD["mean2d"]).deprocess("data", RECORD["pre_mean2d"]),
        RECORD["depre_mean2d"],
        **CLOSE,
    )


def test_deprocess_undoes_preprocess_of_a_picture_of_the_right_size() -> None:
    made = transformer()

    back = made.deprocess("data", made.preprocess("data", RECORD["img_same"])[np.newaxis])

    np.testing.assert_allclose(back, RECORD["img_same"], **CLOSE)


@given(
    order=st.permutations(range(3)),
    raw_scale=st.floats(0.1, 300),
    input_scale=st.floats(0.01, 10),
    mean=st.lists(st.floats(-200, 200), min_size=3, max_size=3),
)
def test_deprocess_undoes_any_settings(
    order: list[int], raw_scale: float, input_scale: float, mean: list[float]
) -> None:
    made = Transformer({"data": (1, 3, 4, 5)})
    made.set_transpose("data", (2, 0, 1))
    made.set_channel_swap("data", order)
    made.set_raw_scale("data", raw_scale)
    made.set_mean("data", np.array(mean))
    made.set_input_scale("data", input_scale)
    picture = np.random.default_rng(3).random((4, 5, 3))

    back = made.deprocess("data", made.preprocess("data", picture))

    # What is lost is float32's rounding at the size of the mean.
    np.testing.assert_allclose(back, picture, rtol=0, atol=1e-6 * (1 + 200 / raw_scale))


def test_a_grey_picture_of_one_row_comes_back_whole() -> None:
    made = Transformer({"data": (1, 1, 1, 5)})
    made.set_transpose("data", (2, 0, 1))
    picture = np.arange(5, dtype=np.float32).reshape(1, 5, 1)

    assert made.deprocess("data", made.preprocess("data", picture)).shape == (1, 5, 1)


def test_the_callers_picture_is_not_changed() -> None:
    made = Transformer({"data": (1, 3, 16, 12)})
    made.set_raw_scale("data", 255)
    picture = RECORD["img_same"].copy()

    made.preprocess("data", picture)

    np.testing.assert_array_equal(picture, RECORD["img_same"])


def test_a_mean_of_another_size_is_resized() -> None:
    made = transformer(np.full((3, 40, 40), 7.0))

    np.testing.assert_allclose(made.mean["data"], np.full((3, 16, 12), 7.0))


def test_a_mean_picture_of_one_plane_serves_all_channels() -> None:
    made = transformer(np.full((16, 12), 255.0))

    assert np.abs(made.preprocess("data", np.ones((16, 12, 3)))).max() == 0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda t: t.set_transpose("foo", (2, 0, 1)),
            r"foo is not one of the net inputs: \{'data'",
        ),
        (lambda t: t.preprocess("foo", RECORD["img"]), r"foo is not one of the net inputs"),
        (lambda t: t.set_channel_swap("data", (1, 0)), r"Channel swap needs.*got \(1, 0\)"),
        (lambda t: t.set_channel_swap("data", (2, 1, 1)), r"Channel swap needs"),
        (lambda t: t.set_transpose("data", (1, 0)), r"Transpose order needs.*got \(1, 0\)"),
        (
            lambda t: t.set_mean("data", np.ones(4)),
            r"Mean channels incompatible.*got 4, expected 3",
        ),
        (lambda t: t.set_mean("data", np.ones((4, 9, 9))), r"Mean channels incompatible"),
        (
            lambda t: t.set_mean("data", np.ones((1, 3, 9, 9))),
            r"Mean shape invalid.*\(1, 3, 9, 9\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_pycaffes_words(
    call: Callable[[Transformer], None], text: str
) -> None:
    with pytest.raises(NstError, match=text) as caught:
        call(Transformer({"data": (1, 3, 16, 12)}))

    assert isinstance(caught.value, ValueError)
