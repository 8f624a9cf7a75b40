"""tools/compare_presets: equal time, neutral losses, the sheet and the table."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg

REPO = Path(__file__).resolve().parents[2]
QUICKSTART = REPO / "models" / "quickstart"
TOOL = REPO / "tools" / "compare_presets"


@pytest.fixture(scope="module")
def tool() -> Any:
    loader = importlib.machinery.SourceFileLoader("compare_presets", str(TOOL))
    spec = importlib.util.spec_from_loader("compare_presets", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["compare_presets"] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


def test_the_distance_of_two_normal_distributions(tool: Any, rng: np.random.Generator) -> None:
    ours, theirs = rng.normal(1, 2, (4, 50)), rng.normal(0, 1, (4, 60))

    moments = [tool.moments(rows.reshape(1, 4, 5, -1)) for rows in (ours, theirs)]

    s, t = (np.cov(rows, bias=True) for rows in (ours, theirs))
    shift = ((ours.mean(axis=1) - theirs.mean(axis=1)) ** 2).sum()
    spread = np.trace(s + t) - 2 * np.trace(scipy.linalg.sqrtm(s @ t)).real
    expected = (shift + spread) / (theirs**2).mean(axis=1).sum()
    assert tool.wasserstein(*moments) == pytest.approx(expected, rel=1e-9)
    assert tool.wasserstein(moments[0], moments[0]) == pytest.approx(0, abs=1e-9)


def test_a_swept_contender_is_read_off_at_the_content_of_another(tool: Any) -> None:
    def result(content: float, style: float) -> Any:
        return tool.Result(
            "fine", np.zeros((1, 1, 3)), 1.0, (1,), {"content": content, "W2": style}
        )

    swept = [result(0.4, 0.4), result(0.1, 0.8), result(1.6, 0.1)]

    assert tool.at_content(swept, 0.4, "W2") == pytest.approx(0.4)
    assert tool.at_content(swept, 0.2, "W2") == pytest.approx(
        0.4 * 2**0.5
    )  # straight in logarithms
    assert tool.at_content(swept, 3.2, "W2") == pytest.approx(0.05)


def test_it_writes_sheet_pictures_and_table(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, str(TOOL), str(tmp_path), "--net", str(QUICKSTART / "net.prototxt")),
            *("--weights", str(QUICKSTART / "quickstart.caffemodel"), "--size", "32"),
            *("--pair", str(QUICKSTART / "content.jpg"), str(QUICKSTART / "style.jpg")),
            *("--seconds", "0.2", "--sweep", "fine", "--contender", "johnson"),
            *("--contender", "fine", "--backend", "numpy"),
        ],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )

    rows = (tmp_path / "content_style.md").read_text().splitlines()
    names = [row.split("|")[1].strip() for row in rows[2:]]
    assert names == [
        *("johnson", "*fine at this content*", "fine style x 0.33", "fine", "fine style x 3")
    ]
    assert (tmp_path / "content_style.png").is_file()
    assert len(list(tmp_path.glob("content_style_*.png"))) == 4
    assert rows[0] in done.stdout
