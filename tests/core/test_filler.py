"""Fillers: Caffe's values bit for bit where its random numbers are portable, its moments elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from numpy.typing import NDArray

from nst.backend import Backend
from nst.core import Blob, RandomSource
from nst.core.filler import FILLERS, fill
from nst.errors import NetError
from nst.proto import FillerParameter

RECORD = Path(__file__).resolve().parents[1] / "data/fillers.npz"
"""Real BVLC Caffe 1.0-136-g9b89154: a 10x3x4x4 weight by each filler, then 10 uniform biases, per seed."""

BIT_EXACT = (
    "constant",
    "uniform",
    "uniform_default",
    "xavier",
    "xavier_out",
    "xavier_avg",
    "positive_unitball",
    "bilinear",
)
SAME_MOMENTS = (
    "gaussian",
    "gaussian_default",
    "gaussian_sparse",
    "msra",
    "msra_out",
    "msra_avg",
)
"""Boost's gaussian algorithm differs between boost versions; see docs/numerics.md."""


def filled(
    text: str, shape: tuple[int, ...], backend: Backend, seed: int = 1
) -> NDArray[np.float32]:
    blob = Blob(backend, shape)
    fill(blob, text_format.Parse(text, FillerParameter()), RandomSource(seed))
    return blob.to_host()


@pytest.mark.parametrize("name", BIT_EXACT)
@pytest.mark.parametrize("seed", [1, 42])
def test_values_are_caffes_bit_for_bit(name: str, seed: int, backend: Backend) -> None:
    with np.load(RECORD) as record:
        text = json.loads(str(record["spec"]))[name]
        weights, biases = record[f"{seed}/{name}/w"], record[f"{seed}/{name}/b"]
    rng = RandomSource(seed)
    ours = Blob(backend, weights.shape), Blob(backend, biases.shape)

    fill(ours[0], text_format.Parse(text, FillerParameter()), rng)
    fill(ours[1], FillerParameter(type="uniform"), rng)

    np.testing.assert_array_equal(ours[0].to_host(), weights)
    np.testing.assert_array_equal(ours[1].to_host(), biases)


@pytest.mark.parametrize("name", SAME_MOMENTS)
def test_values_have_caffes_distribution(name: str, backend: Backend) -> None:
    with np.load(RECORD) as record:
        text = json.loads(str(record["spec"]))[name]
        theirs = np.concatenate([record[f"{seed}/{name}/w"].ravel() for seed in (1, 42)])

    ours = filled(text, (10, 3, 4, 4), backend).ravel()

    deviation = theirs.std()
    assert abs(ours.mean() - theirs.mean()) < 4 * deviation / np.sqrt(ours.size)
    assert abs(ours.std() / deviation - 1) < 4 / np.sqrt(ours.size)
    assert abs((ours == 0).mean() - (theirs == 0).mean()) < 0.1


def test_rows_of_positive_unitball_sum_to_one(backend: Backend) -> None:
    rows = filled('type: "positive_unitball"', (5, 3, 7), backend).reshape(5, -1)

    assert (rows >= 0).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-6)


def test_bilinear_interpolates_a_constant_to_itself(backend: Backend) -> None:
    kernel = filled('type: "bilinear"', (1, 1, 4, 4), backend)[0, 0]

    # a factor-2 enlargement adds two taps per axis: each phase must sum to one
    for row in (0, 1):
        for column in (0, 1):
            assert kernel[row::2, column::2].sum() == pytest.approx(1)


def test_a_scalar_blob_can_be_filled(backend: Backend) -> None:
    assert filled('type: "positive_unitball"', (), backend).shape == ()
    assert filled('type: "xavier"', (), backend).shape == ()


@pytest.mark.parametrize(
    ("text", "shape", "wording"),
    [
        ('type: "magic"', (2, 2), "unknown filler type.*'magic'"),
        ('type: "gausian"', (2, 2), "Did you mean 'gaussian'"),
        ('type: "uniform" sparse: 2', (2, 2), "only the gaussian filler can be sparse"),
        ('type: "bilinear"', (2, 2), "needs a 4-D blob"),
        ('type: "bilinear"', (1, 1, 3, 4), r"square kernels.*\(1, 1, 3, 4\)"),
    ],
)
def test_an_unfitting_filler_is_refused_by_layer_name(
    text: str, shape: tuple[int, ...], wording: str, backend: Backend
) -> None:
    blob = Blob(backend, shape)

    with pytest.raises(NetError, match=f"(?is)layer 'conv1': .*{wording}"):
        fill(blob, text_format.Parse(text, FillerParameter()), RandomSource(1), layer="conv1")


def test_every_filler_is_tested() -> None:
    with np.load(RECORD) as record:
        texts = json.loads(str(record["spec"]))
    tested = {text_format.Parse(texts[n], FillerParameter()).type for n in BIT_EXACT + SAME_MOMENTS}

    assert tested == set(FILLERS)
