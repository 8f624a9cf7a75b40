"""What the painting starts from."""

from __future__ import annotations

import numpy as np
import pytest
from support.tiny import picture

from nst.errors import UsageError
from nst.io.picture_transform import PictureTransform
from nst.proto import InitialImage
from nst.style.initial import initial_picture

TRANSFORM = PictureTransform(mean=(10, 120, 230))  # blue, green, red
CONTENT, STYLE = picture(40, 60, 1), picture(50, 30, 2)


def start(kind: str, seed: int = 0, content: np.ndarray | None = CONTENT, **fields: float):  # type: ignore[no-untyped-def]
    init = InitialImage(**fields, **{"from": kind})
    return initial_picture(
        init,
        (40, 60),
        content=content,
        style=STYLE,
        given=None,
        transform=TRANSFORM,
        seed=seed,
    )


def test_content_starts_from_the_content() -> None:
    np.testing.assert_array_equal(start("CONTENT"), CONTENT)


def test_gray_is_the_colour_that_the_net_sees_as_zero() -> None:
    assert (start("GRAY") == [230, 120, 10]).all()  # red, green, blue
    assert not TRANSFORM.encode(start("GRAY")).any()


def test_noise_has_its_spread_around_that_colour_and_follows_the_seed() -> None:
    noise = start("NOISE", noise_std=25)

    assert abs(noise[:, :, 0].mean() - 230) < 2
    assert abs(noise.std(axis=(0, 1)).mean() - 25) < 2
    np.testing.assert_array_equal(noise, start("NOISE", noise_std=25))
    assert not np.array_equal(noise, start("NOISE", seed=1, noise_std=25))


def test_style_statistics_have_the_styles_mean_colour_and_covariance() -> None:
    noise = start("STYLE_STATISTICS").reshape(-1, 3)
    pixels = STYLE.reshape(-1, 3)

    np.testing.assert_allclose(noise.mean(axis=0), pixels.mean(axis=0), atol=8)
    assert np.corrcoef(np.cov(noise.T).ravel(), np.cov(pixels.T).ravel())[0, 1] > 0.98


def test_blend_mixes_the_content_in_by_its_share() -> None:
    blended = start("GRAY", blend=0.25)

    np.testing.assert_allclose(blended, 0.75 * start("GRAY") + 0.25 * CONTENT, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("CONTENT", {}, "init: CONTENT needs a content picture"),
        ("IMAGE", {}, "init: IMAGE needs init { image: ... }"),
        ("GRAY", {"blend": 0.5}, "init: blend needs a content picture"),
        ("GRAY", {"blend": 1.5}, "blend must be a share"),
    ],
)
def test_a_source_that_was_not_given_is_an_error(
    kind: str, fields: dict[str, float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        start(kind, content=None, **fields)
