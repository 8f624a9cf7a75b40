"""Every layer type has what it owes: recorded numbers, gradient checks, a page, a docstring by the template.

A new type fails here until it is in the tables: cases in tests/data/layers or WITHOUT_ORACLE, and
gradient_cases.CASES or WITHOUT_GRADIENT.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.gradient_cases import CASES, NOT_A_GRADIENT, WITHOUT_GRADIENT
from support.oracle_cases import OracleCase

from nst.core import NotDifferentiable
from nst.layers import LAYERS
from nst.proto import LayerParameter

REPO = Path(__file__).resolve().parents[2]
TYPES = sorted(layer.type for layer in LAYERS)
BY_TYPE = {layer.type: layer for layer in LAYERS}

WITHOUT_ORACLE: dict[str, str] = {
    "Data": "needs a database: test_data_layers.py",
    "Event": "own, after MyCaffe: test_not_a_gradient.py",
    "HDF5Data": "needs files: test_data_layers.py",
    "HDF5Output": "needs files: test_data_layers.py",
    "HistogramLoss": "own: test_example_losses.py",
    "ImageData": "needs files, and OpenCV in Caffe: test_data_layers.py",
    "MMDLoss": "own: test_statistic_losses.py",
    "MRFLoss": "own: test_example_losses.py",
    "Mask": "own: test_guided.py",
    "MemoryData": "needs arrays handed over: test_data_layers.py",
    "Moments": "own: test_moments.py",
    "MomentsLoss": "own: test_statistic_losses.py",
    "Pad": "own: test_pad.py",
    "Python": "runs the user's code: test_python.py",
    "RelativeLoss": "own: test_statistic_losses.py",
    "Scalar": "own, after MyCaffe: test_not_a_gradient.py",
    "TemporalLoss": "own: test_temporal_loss.py",
    "Threshold": "not among the recorded cases: test_shapes_and_activations.py",
    "Trim": "own: test_trim.py",
    "WassersteinLoss": "own: test_wasserstein_loss.py",
    "WindowData": "needs files, and OpenCV in Caffe: test_data_layers.py",
}
"""Types without numbers recorded from Caffe: why, and the test that stands in."""

RECORDED = {
    name
    for archive in (REPO / "tests/data/layers").glob("*.npz")
    for name in OracleCase(archive).types
}


def test_types_are_listed_in_order_and_once() -> None:
    names = [layer.type for layer in LAYERS]

    assert names == sorted(set(names))


@pytest.mark.parametrize("name", TYPES)
def test_a_type_has_recorded_numbers_or_a_test_that_stands_in(name: str) -> None:
    assert (name in RECORDED) != (name in WITHOUT_ORACLE)


@pytest.mark.parametrize("name", WITHOUT_ORACLE)
def test_what_stands_in_for_an_oracle_tests_the_type(name: str) -> None:
    test = REPO / "tests/layers" / WITHOUT_ORACLE[name].rpartition(" ")[2]

    assert re.search(rf"\b{name}\b", test.read_text())


@pytest.mark.parametrize("name", TYPES)
def test_a_type_has_gradient_checks_or_nothing_to_differentiate(name: str) -> None:
    assert bool(CASES.get(name)) != (name in WITHOUT_GRADIENT)


def test_what_has_no_gradient_is_declared_so() -> None:
    without = {
        layer.type for layer in LAYERS if issubclass(layer, NotDifferentiable) or layer.is_source
    }

    assert without <= set(WITHOUT_GRADIENT)


def test_the_tables_name_no_unknown_type() -> None:
    exceptions = {entry.split()[0] for entry in NOT_A_GRADIENT}

    assert set(CASES) | set(WITHOUT_GRADIENT) | set(WITHOUT_ORACLE) | exceptions <= set(TYPES)


@pytest.mark.parametrize("name", TYPES)
def test_a_type_has_its_own_file_and_page(name: str) -> None:
    stem = BY_TYPE[name].__module__.rpartition(".")[2]

    assert stem.replace("_", "") == name.lower()
    assert (REPO / f"docs/layers/{stem}.md").is_file()


@pytest.mark.parametrize("name", TYPES)
def test_a_docstring_follows_the_template(name: str) -> None:
    text = importlib.import_module(BY_TYPE[name].__module__).__doc__ or ""
    labels = re.findall(r"^([A-Z][a-z]+)\s{2,}\S", text, re.M)

    assert text.startswith(f"{name}: ")
    assert {"Gradient", "Source"} <= set(labels)
    assert labels == [label for label in ORDER if label in labels]
    assert len(text.splitlines()) <= 25


ORDER = ("Formula", "Bottoms", "Tops", "Params", "Blobs", "Gradient", "Errors", "Source")


@pytest.mark.parametrize("name", TYPES)
def test_a_docstring_names_the_settings_of_its_type(name: str) -> None:
    text = importlib.import_module(BY_TYPE[name].__module__).__doc__ or ""
    own = f"{BY_TYPE[name].__module__.rpartition('.')[2]}_param"
    fields = {field.name for field in LayerParameter.DESCRIPTOR.fields} & {own}

    assert all(re.search(rf"\b{field} \{{", text) for field in fields)


def test_the_pages_are_fresh() -> None:
    command = [sys.executable, str(REPO / "tools/gen_docs"), "--check"]

    result = subprocess.run(command, capture_output=True, text=True, cwd=REPO, check=False)

    assert result.returncode == 0, result.stderr
