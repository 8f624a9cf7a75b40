"""Forward, backward and parameter gradients agree with the numbers recorded from the real Caffe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.oracle_cases import OracleCase

from nst.backend import Backend

REPO = Path(__file__).resolve().parents[2]
OWN = sorted((REPO / "tests/data/layers").glob("*.npz"))
SHARED = sorted((REPO.parent / "shared/oracle/layers").glob("*.npz")) or [Path("missing.npz")]

RELATIVE = 1e-5
LOOSER: dict[str, tuple[float, str]] = {}
"""Case -> (tolerance, reason) where 1e-5 of the largest value cannot be held."""


def agree(case: OracleCase, backend: Backend) -> None:
    tolerance, _ = LOOSER.get(case.name, (RELATIVE, ""))
    for key, ours, theirs in case.replay(backend):
        finite = np.abs(theirs[np.isfinite(theirs)])
        largest = finite.max() if finite.size else 0.0
        np.testing.assert_allclose(
            ours, theirs, tolerance, tolerance * largest, equal_nan=True, err_msg=key
        )


@pytest.mark.parametrize("archive", OWN, ids=lambda path: path.stem)
def test_the_kept_numbers_of_caffe_are_met(archive: Path, backend: Backend) -> None:
    agree(OracleCase(archive), backend)


@pytest.mark.shared
@pytest.mark.parametrize("archive", SHARED, ids=lambda path: path.stem)
def test_the_recorded_numbers_of_caffe_are_met(
    archive: Path, backend: Backend, shared: Path
) -> None:
    agree(OracleCase(archive), backend)
