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


def test_the_next_style_weight_lies_on_the_line_through_those_tried(tool: Any) -> None:
    def content(factor: float) -> float:
        return 0.6 * factor**0.3

    tried = {1.0: content(1.0), 3.0: content(3.0)}

    for factor in (0.2, 0.9, 2.0, 9.0):
        assert tool.next_factor(tried, content(factor)) == pytest.approx(factor)
    bent = {1.0: 0.5, 2.0: 0.6, 4.0: 0.9}
    assert 2 < tool.next_factor(bent, 0.7) < 4
    assert 1 < tool.next_factor(bent, 0.55) < 2
    assert tool.next_factor({1.0: 0.5}, 0.6) > 1 > tool.next_factor({1.0: 0.5}, 0.4)


def test_a_contender_is_matched_by_its_style_weight(
    tool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(self: Any, name: str, block: str, pair: Any, factor: float = 1.0) -> Any:
        losses = {"content": 0.5 * factor**0.2 + 0.1}
        return tool.Result(name, np.zeros((1, 1, 3)), 1.0, (1,), losses)

    monkeypatch.setattr(tool.Comparison, "run", run)
    comparison = tool.Comparison(*[None] * 7)
    tried = {1.0: comparison.run("fine", "", ())}

    found = comparison.matched("fine", "", (), 0.8, tried)

    assert found.losses["content"] == pytest.approx(0.8, rel=tool.SAME)
    factor = next(f for f, result in tried.items() if result.losses is found.losses)
    assert factor == pytest.approx((0.7 / 0.5) ** 5, rel=0.1)
    assert found.name == f"fine style x {factor:.3g}"
    assert len(tried) <= 1 + tool.MOST_TRIES


def test_it_writes_sheet_pictures_and_table(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, str(TOOL), str(tmp_path), "--net", str(QUICKSTART / "net.prototxt")),
            *("--weights", str(QUICKSTART / "quickstart.caffemodel"), "--size", "32"),
            *("--pair", str(QUICKSTART / "content.jpg"), str(QUICKSTART / "style.jpg")),
            *("--seconds", "0.2", "--match", "fine", "--contender", "johnson"),
            *("--contender", "fine", "--backend", "numpy"),
        ],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )

    rows = (tmp_path / "content_style.md").read_text().splitlines()
    names = [row.split("|")[1].strip() for row in rows[2:]]
    assert [names[0], names[1].partition(" x ")[0], names[2]] == ["johnson", "fine style", "fine"]
    assert (tmp_path / "content_style.png").is_file()
    assert len(list(tmp_path.glob("content_style_*.png"))) == 3
    assert rows[0] in done.stdout
