"""`nst-solve --frames`, from its words to its files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.tiny import picture

from nst.cli import video as video_module
from nst.cli.solve import main
from nst.io.animation import write_animation
from nst.io.frames import open_frames
from nst.io.picture_output import write_picture
from nst.io.recipe import read_recipe
from nst.style.forecast import Forecast, StageForecast
from nst.style.schedule import Stage
from nst.style.video import forecast as forecast_module
from nst.style.video import motion as motion_module

FRAMES = 3


def solve(*words: object) -> int:
    return main([*map(str, words), "--backend", "numpy"])


@pytest.fixture
def clip(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three frames; no OpenCV, whether it is here or not."""
    scene = picture(30, 44, 4)
    for number in range(FRAMES):
        write_picture(workshop / "clip" / f"{number}.png", scene[:, 2 * number : 40 + 2 * number])
    monkeypatch.setattr(motion_module, "has_opencv", lambda: False)
    monkeypatch.setattr(video_module, "has_opencv", lambda: False)
    return workshop / "clip"


WORDS = ("solver.prototxt", "--frames", "clip", "--frame-iterations", 3)


def test_a_folder_of_frames_becomes_a_folder_of_frames(
    clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert solve(*WORDS, "--output", "o") == 0

    out = capsys.readouterr().out
    assert sorted(p.name for p in Path("o").iterdir()) == [
        f"frame_000{n}.png" for n in range(1, FRAMES + 1)
    ]
    assert "3 frames: 3 painted" in out
    assert "note" in out
    assert "OpenCV is not here" in out
    recipe = read_recipe("o/frame_0002.png")
    assert recipe.files["content"].name == "1.png"
    assert 'frames: "clip"' in recipe.options["solver"]
    assert recipe.results["iterations"] == 3


def test_started_again_nothing_is_painted_twice(
    clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert solve(*WORDS, "--output", "o") == 0
    times = [path.stat().st_mtime_ns for path in sorted(Path("o").iterdir())]
    capsys.readouterr()

    assert solve(*WORDS, "--output", "o") == 0

    assert "3 frames: 3 there already" in capsys.readouterr().out
    assert [path.stat().st_mtime_ns for path in sorted(Path("o").iterdir())] == times


@pytest.mark.parametrize("suffix", ["gif", "webp", "apng"])
def test_an_animation_becomes_an_animation_of_the_same_pace(suffix: str, clip: Path) -> None:
    frames = open_frames(clip)
    write_animation(
        "in.webp", lambda i: frames.read(i).rgb.astype(np.uint8), [40, 80, 120], quality=100
    )
    words = ("solver.prototxt", "--frames", "in.webp", "--frame-iterations", 3)

    assert solve(*words, "--output", f"out.{suffix}") == 0

    made = open_frames(f"out.{suffix}")
    assert made.durations_ms == (40, 80, 120)
    assert made.shape == (18, 24)
    assert len(list(Path("out_frames").glob("frame_*.png"))) == FRAMES
    if suffix == "apng":
        with Image.open("out_frames/frame_0003.png") as last:
            np.testing.assert_array_equal(made.read(2).rgb, np.asarray(last.convert("RGB")))


def test_frames_a_second_are_for_files(clip: Path) -> None:
    assert solve(*WORDS, "--fps", 20, "--output", "out.webp") == 0

    assert open_frames("out.webp").durations_ms == (50, 50, 50)


def test_a_solver_file_says_the_same(clip: Path) -> None:
    text = Path("solver.prototxt").read_text()
    text = text.replace('image: "town.png" ', "").replace('output: "out.png"', 'output: "o"')
    block = 'style_transfer_param { video { frames: "clip" iterations: 3 }'
    Path("video.prototxt").write_text(text.replace("style_transfer_param {", block))

    assert solve("video.prototxt") == 0
    assert solve(*WORDS, "--output", "flags") == 0

    for number in range(1, FRAMES + 1):
        with (
            Image.open(f"o/frame_000{number}.png") as one,
            Image.open(f"flags/frame_000{number}.png") as other,
        ):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--content", "town.png"), "--content: not with the frames of a video"),
        (("--resume", "x.snapshot"), "goes on when it is started again"),
        (("--history", "h.csv"), "--history: not with the frames"),
        (("--batch", "clip"), "not with the frames of a video"),
        (("--output", "o.png"), "of frames a folder, or an animation"),
        (("--output", "clip"), "is where the frames come from"),
        (("--output", "plain"), "a folder is needed"),
        (("--frames", "nowhere"), "no frames there"),
        (("--frames", "town.png"), "one picture and no animation"),
        (("--flow", "estimate"), "needs OpenCV"),
        (("--flow", "files"), "no folder of flow files named"),
        (("--flow-files", "clip"), "expected backward_2_1.flo"),
        (("--temporal-distances", "0"), "with 1 among them"),
    ],
)
def test_what_does_not_go_together_is_told_in_one_line(
    words: tuple[str, ...],
    said: str,
    clip: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    Path("plain").write_text("a file")

    assert solve(*WORDS, "--output", "o", *words) == 2

    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_plan_is_for_all_frames(
    clip: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forecast(job, measured):  # type: ignore[no-untyped-def]
        seconds = float(sum(stage.iterations for stage in job.stages))
        stage = StageForecast(Stage(24, 4), (18, 24), seconds, 1.0, seconds, 50_000_000)
        return Forecast((stage,), 40_000_000, 10**9, None, None, None)

    monkeypatch.setattr(forecast_module, "probe", lambda job: None)
    monkeypatch.setattr(forecast_module, "forecast", forecast)

    assert solve(*WORDS, "--plan", "--output", "o") == 0

    out = capsys.readouterr().out
    assert "3 of 24x18" in out
    assert "about 0:10" in out  # 4 iterations, then twice 3
    assert "50 MB at most" in out
    assert not Path("o").exists()


KILLED = """
import os, signal, sys
from nst.cli import video as door
from nst.cli.solve import main
from nst.style.run import StyleRun
from nst.style.video import motion

door.has_opencv = motion.has_opencv = lambda: False
observe, done = StyleRun._observe, []

def observe_and_die(self, *args):
    done.append(observe(self, *args))
    if len(done) == AT:
        os.kill(os.getpid(), signal.SIGKILL)
    return done[-1]

StyleRun._observe = observe_and_die
main(sys.argv[1:])
"""


@pytest.mark.parametrize("at", [3, 6, 9])
def test_a_killed_sequence_is_continued_by_starting_it_again(
    at: int, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*map(str, WORDS), "--snapshot", "1", "--backend", "numpy"]
    assert main([*words, "--output", "whole"]) == 0
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": ""}
    program = KILLED.replace("AT", str(at))
    command = [sys.executable, "-c", program, *words, "--output", "o", "--quiet"]
    assert subprocess.run(command, env=environment, check=False).returncode == -9
    there = len(list(Path("o").glob("frame_*.png")))
    assert there < FRAMES
    capsys.readouterr()

    assert main([*words, "--output", "o"]) == 0

    assert f"{there} there already" in capsys.readouterr().out or there == 0
    assert sorted(p.name for p in Path("o").glob("[!.]*")) == [
        f"frame_000{n}.png" for n in range(1, FRAMES + 1)
    ]
    for number in range(1, FRAMES + 1):
        with (
            Image.open(f"whole/frame_000{number}.png") as one,
            Image.open(f"o/frame_000{number}.png") as other,
        ):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
