"""Colour control: what becomes of the content's colours. RGB pictures (H, W, 3), 0 to 255, in and out.

    KEEP_YCC, KEEP_LAB    after the run: the painting's lightness with the content's colours, in Y'CbCr
                          (BT.601) or in CIE Lab (D65)
    MATCH_PCA             before the run: the style's colours get mean and covariance of the content's, by the
    MATCH_CHOLESKY        symmetric map of principal axes, or by triangular factors
    MATCH_HISTOGRAM       before the run: each channel of the style gets the content's distribution

Source: Gatys, Bethge, Hertzmann, Shechtman 2016 (arXiv 1606.05897), sections 3 and 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nst.proto import StyleTransferParameter

Picture = NDArray[np.float32]
Values = NDArray[np.float64]

RIDGE = 1e-5 * 255**2
"""Added to colour variances: a grey picture has none in two directions."""

_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE = _XYZ.sum(axis=1)


def match_colours(style: Picture, content: Picture, how: int) -> Picture:
    """The style picture in the colours of the content, by a MATCH_ rule; values may leave 0 to 255."""
    if how == StyleTransferParameter.MATCH_HISTOGRAM:
        return _match_histograms(style, content)
    source, target = (picture.reshape(-1, 3).astype(np.float64) for picture in (style, content))
    spread, wanted = (np.cov(x.T, bias=True) + RIDGE * np.eye(3) for x in (source, target))
    if how == StyleTransferParameter.MATCH_CHOLESKY:
        mapping = np.linalg.cholesky(wanted) @ np.linalg.inv(np.linalg.cholesky(spread))
    else:
        mapping = _power(wanted, 0.5) @ _power(spread, -0.5)
    matched = (source - source.mean(axis=0)) @ mapping.T + target.mean(axis=0)
    return np.asarray(matched.reshape(style.shape), np.float32)


def keep_colours(painted: Picture, content: Picture, how: int) -> Picture:
    """The painting's lightness with the content's colours, by a KEEP_ rule; pictures of one size."""
    to, back = _LAB if how == StyleTransferParameter.KEEP_LAB else _LUMA
    mixed = to(content.astype(np.float64))
    mixed[..., 0] = to(np.clip(painted, 0, 255).astype(np.float64))[..., 0]
    return np.asarray(np.clip(back(mixed), 0, 255), np.float32)


def is_matched_before(how: int) -> bool:
    """Whether a rule changes the style picture before the run."""
    return how in (
        StyleTransferParameter.MATCH_PCA,
        StyleTransferParameter.MATCH_CHOLESKY,
        StyleTransferParameter.MATCH_HISTOGRAM,
    )


def is_kept_after(how: int) -> bool:
    """Whether a rule changes the painting after the run."""
    return how in (StyleTransferParameter.KEEP_YCC, StyleTransferParameter.KEEP_LAB)


# ---- pieces -----------------------------------------------------------------------------------


def _power(symmetric: Values, exponent: float) -> Values:
    values, vectors = np.linalg.eigh(symmetric)
    return np.asarray((vectors * values**exponent) @ vectors.T)


def _match_histograms(style: Picture, content: Picture) -> Picture:
    """Every value goes to the content's value of the same rank; equal values stay equal."""
    matched = np.empty_like(style)
    for channel in range(3):
        plane = style[..., channel]
        values, ranks = _ranks(plane)
        wanted = np.interp(ranks, *reversed(_ranks(content[..., channel])))
        matched[..., channel] = wanted[np.searchsorted(values, plane)]
    return matched


def _ranks(plane: NDArray[Any]) -> tuple[NDArray[Any], Values]:
    """The different values of a plane, rising, and for each the share of the plane below its middle."""
    values, counts = np.unique(plane, return_counts=True)
    return values, (np.cumsum(counts) - 0.5 * counts) / counts.sum()


def _ycc_from_rgb(rgb: Values) -> Values:
    return np.asarray(rgb @ _YCC.T)


def _rgb_from_ycc(ycc: Values) -> Values:
    return np.asarray(ycc @ np.linalg.inv(_YCC).T)


def _lab_from_rgb(rgb: Values) -> Values:
    encoded = rgb / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    t = linear @ _XYZ.T / _WHITE
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack(
        [116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])],
        axis=-1,
    )


def _rgb_from_lab(lab: Values) -> Values:
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    t = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    linear = np.clip(t * _WHITE @ np.linalg.inv(_XYZ).T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(255 * encoded)


_LUMA: tuple[Any, Any] = (_ycc_from_rgb, _rgb_from_ycc)
_LAB: tuple[Any, Any] = (_lab_from_rgb, _rgb_from_lab)
