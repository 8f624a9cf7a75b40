"""What can go wrong with the disk really does here: the run, or its snapshot, survives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nst.cli.solve import main
from nst.style.run_snapshot import read_run_snapshot

FULL = """
import resource, signal, sys
from nst.cli import batch, painting, video
from nst.cli.solve import main
from nst.io.picture_output import write_picture

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

def write_on_a_full_disk(*args, **options):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        write_picture(*args, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

for door in (batch, painting, video):
    door.write_picture = write_on_a_full_disk
sys.exit(main(sys.argv[1:]))
"""
"""`nst-solve` on a system that takes no picture of more than 100 bytes."""

WORDS = ["solver.prototxt", "--backend", "numpy", "--snapshot", "100"]

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs setrlimit")


def on_a_full_disk(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": ""}
    command = [sys.executable, "-c", FULL, *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def pixels(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@needs_posix
def test_a_picture_that_cannot_be_written_leaves_a_snapshot_of_the_whole_run(
    workshop: Path,
) -> None:
    assert main([*WORDS, "--output", "whole.png"]) == 0

    failed = on_a_full_disk(*WORDS)

    assert failed.returncode == 1
    assert "out.png: cannot be written (File too large)" in failed.stderr
    assert "--resume out.snapshot writes it again" in failed.stderr
    assert failed.stderr.count("\n") == 1
    assert not Path("out.png").exists()
    assert read_run_snapshot("out.snapshot").history[-1].done == 4
    assert main([*WORDS, "--resume", "out.snapshot"]) == 0
    np.testing.assert_array_equal(pixels("out.png"), pixels("whole.png"))


@needs_posix
def test_a_full_disk_in_a_batch_costs_no_work(workshop: Path) -> None:
    words = [*WORDS, "--batch", "town.png", "--output", "o"]

    failed = on_a_full_disk(*words)

    assert failed.returncode == 1
    assert "File too large" in failed.stderr
    assert read_run_snapshot("o/town.snapshot").history[-1].done == 4
    assert main(words) == 0
    assert not Path("o/town.snapshot").exists()


@needs_posix
def test_a_full_disk_in_a_video_costs_no_work(workshop: Path) -> None:
    for number in range(2):
        Path("clip").mkdir(exist_ok=True)
        Path(f"clip/{number}.png").write_bytes(Path("town.png").read_bytes())
    words = [*WORDS, "--frames", "clip", "--flow", "none", "--output", "o"]

    failed = on_a_full_disk(*words)

    assert failed.returncode == 1
    assert "File too large" in failed.stderr
    assert read_run_snapshot("o/frame_0001.snapshot").history[-1].done == 4
    assert main([*words, "--frame-iterations", "1"]) == 0
    assert not list(Path("o").glob("*.snapshot"))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc, which nobody can write")
@pytest.mark.parametrize("output", ["/proc/nst/out.png", "/proc/nst.png"])
def test_a_place_that_cannot_be_written_is_refused_before_the_run(
    output: str, workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*WORDS, "--output", output]) == 2

    out, err = capsys.readouterr()
    assert f"{output}: cannot be written here" in err
    assert err.count("\n") == 1
    assert "iteration" not in out


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda data: data[:-1], lambda data: b"", bytes.swapcase],
    ids=["half", "a byte short", "empty", "changed"],
)
def test_a_damaged_snapshot_is_refused_in_one_line(
    damage,  # type: ignore[no-untyped-def]
    workshop: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    on_a_full_disk(*WORDS)
    path = Path("out.snapshot")
    path.write_bytes(damage(path.read_bytes()))

    assert main([*WORDS, "--resume", "out.snapshot"]) == 2

    err = capsys.readouterr().err
    assert err.startswith("nst-solve: error: out.snapshot: ")
    assert err.count("\n") == 1
    assert not Path("out.png").exists()
