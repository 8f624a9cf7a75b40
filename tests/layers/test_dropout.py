"""Dropout: Caffe's masks bit for bit, identity when testing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.layer_rig import LayerRig

from nst.backend import Backend
from nst.core import TEST, TRAIN
from nst.errors import NetError

RECORD = Path(__file__).resolve().parents[1] / "data/dropout_train.npz"
"""Real BVLC Caffe: <seed>_<ratio>/{x,g}, and {out,grad}{1,2} of two TRAIN rounds after seeding."""


@pytest.mark.parametrize("key", ["1_0.5", "3_0.25", "5_0.8"])
def test_two_rounds_of_training_are_caffes_bit_for_bit(key: str, backend: Backend) -> None:
    with np.load(RECORD) as archive:
        record = {name.split("/")[1]: archive[name] for name in archive.files if key in name}
    seed, ratio = key.split("_")
    text = f'type: "Dropout" dropout_param {{ dropout_ratio: {ratio} }}'
    rig = LayerRig(backend, text, [record["x"]], phase=TRAIN, dtype=np.float32, seed=int(seed))

    for turn in ("1", "2"):
        (y,) = rig.forward()
        (dx,) = rig.backward([record["g"]])

        np.testing.assert_array_equal(y, record[f"out{turn}"])
        np.testing.assert_array_equal(dx, record[f"grad{turn}"])


def test_testing_changes_nothing(backend: Backend) -> None:
    x = np.arange(6.0).reshape(2, 3)
    rig = LayerRig(backend, 'type: "Dropout"', [x], phase=TEST)

    np.testing.assert_array_equal(rig.forward()[0], x)
    np.testing.assert_array_equal(rig.backward([2 * x])[0], 2 * x)


@pytest.mark.parametrize("ratio", [1.0, -0.1, 1.5])
def test_a_ratio_that_is_no_probability_below_one_is_refused(
    ratio: float, backend: Backend
) -> None:
    text = f'type: "Dropout" dropout_param {{ dropout_ratio: {ratio} }}'

    with pytest.raises(NetError, match=r"layer 'layer': dropout_ratio .*expected \[0, 1\)"):
        LayerRig(backend, text, [np.ones(3)])
