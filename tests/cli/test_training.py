"""`nst train` and `nst test` against the logs of the real Caffe; provenance in tests/data/cli/README.md."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nst.cli.main import main
from nst.io.weights import read_weights

DATA = Path(__file__).resolve().parents[1] / "data/cli"
SOURCE = Path(__file__).resolve().parents[2] / "src"
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the recorded training's files, as the working folder."""
    for path in DATA.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def caffes(log: str) -> list[str]:
    lines: list[str] = json.loads((DATA / "log.json").read_text())[log]
    return lines


def texts(lines: list[str]) -> list[str]:
    """Lines without the head that tells time and process."""
    return [line.split("] ", 1)[-1] for line in lines]


def check_alike(lines: list[str], expected: list[str]) -> None:
    """Same words, and the same numbers to the digits that are printed."""
    kept = [x for x in texts(lines) if NUMBER.sub("#", x) in {NUMBER.sub("#", e) for e in expected}]
    assert [NUMBER.sub("#", line) for line in kept] == [NUMBER.sub("#", line) for line in expected]
    ours = [float(n) for line in kept for n in NUMBER.findall(line)]
    theirs = [float(n) for line in expected for n in NUMBER.findall(line)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_training_logs_what_caffe_logs(training: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-solver", "s.prototxt", "-weights", "init.caffemodel"]) == 0
    check_alike(capsys.readouterr().out.splitlines(), caffes("train"))


def test_a_resumed_training_logs_what_caffe_logs(
    training: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--solver=s.prototxt", "--snapshot=cli_iter_4.solverstate", "--backend=numpy"]
    expected = read_weights("cli_iter_8.caffemodel")
    assert main(["train", *words]) == 0
    check_alike(capsys.readouterr().out.splitlines(), caffes("resume"))
    trained = read_weights("cli_iter_8.caffemodel")
    for name in expected:
        for ours, theirs in zip(trained[name], expected[name], strict=True):
            np.testing.assert_allclose(ours.array, theirs.array, rtol=1e-5, atol=1e-6)


def test_testing_prints_what_caffe_prints(
    training: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["-model", "net.prototxt", "-weights", "cli_iter_8.caffemodel", "-iterations", "3"]
    assert main(["test", *words]) == 0
    check_alike(capsys.readouterr().out.splitlines(), caffes("test"))


def test_the_log_has_glogs_head(training: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "-solver", "s.prototxt"])
    line = next(x for x in capsys.readouterr().out.splitlines() if "Iteration 0, loss" in x)
    assert re.match(r"I\d{4} \d\d:\d\d:\d\d\.\d{6} \d+ solvers\] Iteration 0, loss = \d", line)


def test_the_history_holds_losses_and_tests(training: Path) -> None:
    main(["train", "-solver", "s.prototxt", "-weights", "init.caffemodel", "--history", "h.csv"])
    with Path("h.csv").open() as file:
        rows = {row["iteration"]: row for row in csv.DictReader(file)}
    assert list(rows) == [str(number) for number in range(9)]
    assert float(rows["1"]["loss"]) == pytest.approx(1.00875, rel=1e-5)
    assert float(rows["5"]["smoothed_loss"]) == pytest.approx(1.1528, rel=1e-4)
    assert float(rows["4"]["test0_loss"]) == pytest.approx(1.06557, rel=1e-5)
    assert rows["5"]["test0_loss"] == ""


def test_the_training_plot_is_a_picture(training: Path) -> None:
    main(["train", "-solver", "s.prototxt", "--plot", "p.png"])
    with Image.open("p.png") as image:
        assert image.size == (960, 600)


def test_a_solver_file_elsewhere_finds_its_net_beside_it(
    training: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (training / "far").mkdir()
    for name in ("s.prototxt", "net.prototxt"):
        shutil.move(training / name, training / "far" / name)
    assert main(["train", "-solver", "far/s.prototxt"]) == 0


def test_snapshot_and_weights_together_are_refused(
    training: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["-snapshot", "cli_iter_4.solverstate", "-weights", "init.caffemodel"]
    assert main(["train", "-solver", "s.prototxt", *words]) == 2
    assert capsys.readouterr().err == (
        "nst train: error: train: give a snapshot to go on from or weights to start from, not both\n"
    )


def start(training: Path, *words: str) -> subprocess.Popen[str]:
    """A training without end, after its first lines."""
    text = (training / "s.prototxt").read_text().replace("max_iter: 8", "max_iter: 100000000")
    (training / "long.prototxt").write_text(re.sub(r"snapshot: 4", "snapshot: 0", text))
    process = subprocess.Popen(
        [sys.executable, "-m", "nst", "train", "-solver", "long.prototxt", *words],
        cwd=training,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while "Iteration 2, loss" not in process.stdout.readline():
        assert process.poll() is None
    return process


def test_sigint_stops_with_a_snapshot(training: Path) -> None:
    process = start(training, "-sigint_effect", "stop")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err == ""
    assert "Optimization stopped early." in out
    found = re.search(r"Snapshotting to binary proto file (\S+)", out)
    assert found is not None
    assert (training / found.group(1)).exists()


def test_sighup_takes_a_snapshot_and_goes_on(training: Path) -> None:
    process = start(training)
    process.send_signal(signal.SIGHUP)
    assert process.stdout is not None
    while "Snapshotting" not in process.stdout.readline():
        assert process.poll() is None
    while "Iteration" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_signal_can_be_without_effect(training: Path) -> None:
    process = start(training, "--sighup-effect", "none")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert out.count("Snapshotting to binary") == 1
