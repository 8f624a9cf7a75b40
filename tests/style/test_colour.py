"""Colour control: means, covariances and histograms matched, hues kept; and in whole runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tiny import picture, tiny_net, tiny_weights

from nst.backend import Backend
from nst.errors import UsageError
from nst.io.prototxt import parse_solver
from nst.io.resample import resize
from nst.proto import StyleTransferParameter
from nst.style.colour import keep_colours, match_colours
from nst.style.job import StyleJob, load_job
from nst.style.run import run_job

Color = StyleTransferParameter.ColorControl
CONTENT, STYLE = picture(30, 40, 1), picture(20, 26, 5)


def rule(name: str) -> int:
    return Color.Value(name)


def seeded(seed: int, shape: tuple[int, int] = (9, 11)) -> np.ndarray:
    """A picture with a colour cast and correlated channels of its own."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(3, 3)) * 8 + 30 * np.eye(3)
    cast = rng.uniform(80, 170, 3)
    return np.asarray(rng.normal(size=(*shape, 3)) @ mixing + cast, np.float32)


@pytest.mark.parametrize("how", ["MATCH_PCA", "MATCH_CHOLESKY"])
@given(style=st.integers(0, 50), content=st.integers(51, 99))
def test_a_matched_style_has_mean_and_covariance_of_the_content(
    how: str, style: int, content: int
) -> None:
    source, target = seeded(style), seeded(content)

    matched = match_colours(source, target, rule(how)).reshape(-1, 3)

    flat = target.reshape(-1, 3)
    np.testing.assert_allclose(matched.mean(axis=0), flat.mean(axis=0), atol=1e-2)
    wanted = np.cov(flat.T)
    # the ridge for grey pictures moves variances a little
    np.testing.assert_allclose(np.cov(matched.T), wanted, atol=0.01 * np.trace(wanted))


@pytest.mark.parametrize("how", ["MATCH_PCA", "MATCH_CHOLESKY", "MATCH_HISTOGRAM"])
def test_a_style_matched_to_itself_stays_as_it_is(how: str) -> None:
    np.testing.assert_allclose(match_colours(STYLE, STYLE, rule(how)), STYLE, atol=0.1)


def test_a_matched_histogram_is_that_of_the_content() -> None:
    matched = match_colours(STYLE, CONTENT, rule("MATCH_HISTOGRAM"))

    for channel in range(3):
        levels = np.linspace(0.02, 0.98, 25)
        ours, theirs = (np.quantile(x[..., channel], levels) for x in (matched, CONTENT))
        np.testing.assert_allclose(ours, theirs, atol=3)


def test_a_matched_histogram_keeps_the_order_of_values() -> None:
    matched = match_colours(STYLE, CONTENT, rule("MATCH_HISTOGRAM"))

    for channel in range(3):
        order = np.argsort(STYLE[..., channel], axis=None)
        assert (np.diff(matched[..., channel].reshape(-1)[order]) >= 0).all()


@pytest.mark.parametrize("how", ["MATCH_PCA", "MATCH_CHOLESKY", "MATCH_HISTOGRAM"])
def test_a_grey_style_can_be_matched(how: str) -> None:
    grey = np.repeat(CONTENT[:, :, :1], 3, axis=2)

    assert np.isfinite(match_colours(grey, CONTENT, rule(how))).all()


@pytest.mark.parametrize("how", ["MATCH_PCA", "MATCH_CHOLESKY"])
def test_a_style_matched_to_a_grey_content_is_nearly_grey(how: str) -> None:
    grey = np.repeat(CONTENT[:, :, :1], 3, axis=2)

    matched = match_colours(STYLE, grey, rule(how))

    assert (matched - matched.mean(axis=2, keepdims=True)).std() < 2


@pytest.mark.parametrize("how", ["KEEP_YCC", "KEEP_LAB"])
def test_the_content_in_its_own_colours_is_the_content(how: str) -> None:
    np.testing.assert_allclose(keep_colours(CONTENT, CONTENT, rule(how)), CONTENT, atol=0.1)


def test_kept_colours_have_the_lightness_of_the_painting() -> None:
    content = np.full((6, 7, 3), (120, 90, 100), np.float32)
    painted = np.repeat(np.linspace(60, 170, 42).reshape(6, 7, 1), 3, axis=2).astype(np.float32)

    mixed = keep_colours(painted, content, rule("KEEP_YCC"))

    luma = mixed @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(luma, painted[..., 0], atol=0.05)
    assert np.ptp(mixed[..., 0] - luma) < 0.1  # one chroma everywhere
    assert np.ptp(mixed[..., 2] - luma) < 0.1


def test_lab_agrees_with_published_values() -> None:
    """sRGB red has L* 53.24, blue 32.30 (D65, IEC 61966-2-1): a grey of that lightness has the value."""
    for primary, grey in (((255, 0, 0), 126.9), ((0, 0, 255), 76.0)):
        painted = np.full((1, 1, 3), primary, np.float32)
        content = np.full((1, 1, 3), 128, np.float32)

        mixed = keep_colours(painted, content, rule("KEEP_LAB"))

        np.testing.assert_allclose(mixed, grey, atol=0.6)


class TestRuns:
    def job(self, color: str, backend: Backend) -> StyleJob:
        settings = parse_solver(
            "max_iter: 6 style_transfer_param { size: 24 style_statistic: W2 style_loss: RELATIVE "
            "content_loss: RELATIVE style_weight: 3 clamp: true "
            f"transform_param {{ mean_value: 128 }} color: {color} }}"
        )
        return load_job(
            settings,
            backend,
            content=CONTENT,
            styles=[STYLE],
            net=tiny_net(),
            weights=tiny_weights(),
        )

    @pytest.mark.parametrize("color", ["KEEP_YCC", "KEEP_LAB"])
    def test_the_result_keeps_the_hues_of_the_content(self, color: str, backend: Backend) -> None:
        kept = run_job(self.job(color, backend)).pixels
        plain = run_job(self.job("STYLE", backend)).pixels

        assert np.abs(kept - plain).max() > 5
        np.testing.assert_allclose(
            keep_colours(plain, kept, rule(color)), kept, atol=12
        )  # the same lightness, up to clipping

    def test_kept_chroma_is_the_contents_wherever_nothing_is_clipped(
        self, backend: Backend
    ) -> None:
        kept = run_job(self.job("KEEP_YCC", backend)).pixels

        content = resize(CONTENT, kept.shape[:2])
        inside = (kept > 0.5).all(axis=2) & (kept < 254.5).all(axis=2)
        assert inside.mean() > 0.5
        for channel in (0, 2):  # R - Y and B - Y are chroma, up to factors
            ours, theirs = (
                (rgb[..., channel] - rgb @ np.array([0.299, 0.587, 0.114]))[inside]
                for rgb in (kept, content)
            )
            np.testing.assert_allclose(ours, theirs, atol=0.1)

    @pytest.mark.parametrize("color", ["MATCH_PCA", "MATCH_CHOLESKY", "MATCH_HISTOGRAM"])
    def test_a_painting_in_matched_colours_stays_near_the_contents(
        self, color: str, backend: Backend
    ) -> None:
        grey = CONTENT.mean(axis=2, keepdims=True)
        pink = np.asarray(0.3 * (STYLE - STYLE.mean()) + [230, 120, 190], np.float32)
        distances = []
        for how in (color, "STYLE"):
            settings = self.job(how, backend).settings
            settings.style_transfer_param.style_weight = 30
            made = load_job(
                settings,
                backend,
                content=np.repeat(grey, 3, axis=2),
                styles=[pink],
                net=tiny_net(),
                weights=tiny_weights(),
            )
            rgb = run_job(made).pixels
            distances.append(np.abs(rgb - rgb.mean(axis=2, keepdims=True)).mean())

        assert distances[0] < 0.8 * distances[1]

    def test_the_style_is_matched_before_anything_is_captured(self, backend: Backend) -> None:
        job = self.job("MATCH_PCA", backend)

        style = job.styles[0].picture.rgb.reshape(-1, 3)
        np.testing.assert_allclose(style.mean(axis=0), CONTENT.mean(axis=(0, 1)), atol=0.1)

    def test_without_a_content_there_are_no_colours_to_take(self, backend: Backend) -> None:
        settings = parse_solver(
            "max_iter: 1 style_transfer_param { content_weight: 0 color: MATCH_PCA }"
        )

        with pytest.raises(UsageError, match="color: nothing to take the colours from"):
            load_job(settings, backend, styles=[STYLE], net=tiny_net(), weights=tiny_weights())
