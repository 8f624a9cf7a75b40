"""`nst-solve --batch`, `--plan`, `--library` and the lock on an output, from their words to their files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nst.cli import planning
from nst.cli.main import main as nst
from nst.cli.solve import main
from nst.io.output_lock import output_held
from nst.io.recipe import read_recipe
from nst.io.style_library import StyleLibrary
from nst.style import forecast as forecast_module
from nst.style.forecast import Forecast, StageForecast
from nst.style.schedule import Stage
from nst.style.transfer import FeatureNet


def solve(*words: object) -> int:
    return main([*map(str, words), "--backend", "numpy"])


@pytest.fixture
def photos(workshop: Path) -> Path:
    """A folder with the content twice, once dimmed, and a file that is no picture."""
    folder = workshop / "photos"
    folder.mkdir()
    with Image.open(workshop / "town.png") as image:
        image.save(folder / "a.png")
        image.point(lambda value: value // 2).save(folder / "b.png")
    (folder / "broken.png").write_text("no picture")
    return folder


def test_a_folder_is_painted_and_what_fails_is_summed_up(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = solve(
        "solver.prototxt", "--batch", photos, "--batch-styles", "waves.png", "--output", "o"
    )

    out, _ = capsys.readouterr()
    assert code == 1
    assert sorted(path.name for path in Path("o").iterdir()) == ["a_waves.png", "b_waves.png"]
    assert "3 pictures: 2 painted, 1 failed" in out
    assert "broken.png" in out
    assert read_recipe("o/a_waves.png").files["content"].name == "a.png"


def test_a_second_start_skips_what_is_there_and_changed_settings_do_not(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "broken.png").unlink()
    words = ("solver.prototxt", "--batch", photos, "--output", "o")
    assert solve(*words) == 0
    capsys.readouterr()

    assert solve(*words) == 0
    assert "2 pictures: 2 there already" in capsys.readouterr().out
    assert solve(*words, "--style-weight", "7") == 0
    assert "2 pictures: 2 painted" in capsys.readouterr().out


def test_a_picture_of_a_batch_is_that_of_a_run_of_its_own(photos: Path) -> None:
    solve("solver.prototxt", "--batch", photos / "a.png", "--output", "o")

    solve("solver.prototxt", "--content", photos / "a.png", "--output", "alone.png")

    with Image.open("o/a.png") as one, Image.open("alone.png") as other:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_a_table_gives_each_picture_its_options(photos: Path) -> None:
    Path("list.csv").write_text(
        "content,output,size\nphotos/a.png,small.png,16\nphotos/b.png,large.png,32\n"
    )

    assert solve("solver.prototxt", "--batch", "list.csv") == 0

    with Image.open("small.png") as small, Image.open("large.png") as large:
        assert (small.width, large.width) == (16, 32)


@pytest.mark.parametrize("flag", [("--content", "town.png"), ("--resume", "x"), ("--plan",)])
def test_flags_of_one_picture_do_not_go_with_a_batch(
    flag: tuple[str, ...], photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert solve("solver.prototxt", "--batch", photos, *flag) == 2
    assert f"{flag[0]}: not with --batch" in capsys.readouterr().err


def test_two_runs_do_not_paint_one_output(
    workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    holder = (
        "import sys, time; from pathlib import Path; from nst.io.output_lock import output_held\n"
        "with output_held(Path('out.png')):\n    print('held', flush=True); time.sleep(60)"
    )
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": ""}
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        code = solve("solver.prototxt")
        process.kill()

    assert code == 2
    assert f"out.png: another run writes it (process {process.pid}" in capsys.readouterr().err
    assert not Path("out.png").exists()
    with output_held(Path("out.png")):
        pass  # the killed process holds it no longer


def test_a_library_saves_the_look_at_the_style(
    workshop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("solver.prototxt", "--library", "styles.h5", "--output")
    solve("solver.prototxt", "--output", "without.png")
    solve(*words, "first.png")
    monkeypatch.setattr(FeatureNet, "capture_style", lambda *args: pytest.fail("computed again"))

    assert solve(*words, "second.png") == 0

    pictures = []
    for name in ("without", "first", "second"):
        with Image.open(f"{name}.png") as image:
            pictures.append(np.asarray(image))
    np.testing.assert_array_equal(pictures[0], pictures[1])
    np.testing.assert_array_equal(pictures[0], pictures[2])


class TestLibrary:
    @pytest.fixture
    def filled(self, workshop: Path) -> Path:
        add = ("library", "add", "styles.h5", "--solver", "solver.prototxt", "--backend", "numpy")
        assert nst([*add, "--style", "waves.png", "--style", "town.png"]) == 0
        return workshop / "styles.h5"

    def test_what_is_added_is_what_a_run_looks_for(
        self, filled: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(FeatureNet, "capture_style", lambda *args: pytest.fail("computed"))

        assert solve("solver.prototxt", "--library", filled) == 0

    def test_adding_again_adds_nothing(
        self, filled: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        capsys.readouterr()
        add = ("library", "add", "styles.h5", "--solver", "solver.prototxt", "--backend", "numpy")
        nst([*add, "--style", "waves.png"])

        assert "0 entries added, 2 in styles.h5" in capsys.readouterr().out

    def test_list_and_show_tell_what_is_in_it(
        self, filled: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        capsys.readouterr()
        nst(["library", "list", str(filled)])
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 2
        (line,) = (line for line in lines if "waves.png at" in line)

        nst(["library", "show", str(filled), line.split()[0]])
        shown = capsys.readouterr().out
        assert "gram_conv1_1  (1, 6, 6) float32" in shown

    def test_verify_finds_damage_and_optimize_mends_and_shrinks(
        self, filled: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert nst(["library", "verify", str(filled)]) == 0
        library = StyleLibrary(filled)
        entry = library.entries()[0]
        values = library.get(entry.key)
        assert values is not None
        data = bytearray(filled.read_bytes())
        name, array = next(iter(values.items()))
        data[data.find(array.tobytes()[:64]) + 5] ^= 0xFF
        filled.write_bytes(data)
        capsys.readouterr()

        assert nst(["library", "verify", str(filled)]) == 1
        assert f"{name} is damaged" in capsys.readouterr().out
        assert nst(["library", "optimize", str(filled)]) == 0
        assert nst(["library", "verify", str(filled)]) == 0
        assert len(library.entries()) == 1

    def test_removed_entries_are_gone(
        self, filled: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        key = StyleLibrary(filled).entries()[0].key

        assert nst(["library", "remove", str(filled), key[:10]]) == 0
        assert [entry.key for entry in StyleLibrary(filled).entries()] != []
        assert nst(["library", "show", str(filled), key[:10]]) == 2
        assert "no entry whose key begins" in capsys.readouterr().err

    def test_what_is_no_library_is_told_in_one_line(
        self, workshop: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert nst(["library", "list", "none.h5"]) == 2
        assert nst(["library", "list", "town.png"]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2
        assert "no such library" in lines[0]
        assert "town.png: no style library: it looks like a PNG picture" in lines[1]


class TestPlan:
    def plan(self, largest: int | None, corrections: int = 10) -> Forecast:
        stage = StageForecast(Stage(512, 100), (384, 512), 125.0, 1.2, 102, 3_500_000_000)
        return Forecast((stage,), 200_000_000, 2_000_000_000, corrections, 10, largest)

    def test_a_plan_tells_time_and_memory_and_paints_nothing(
        self,
        workshop: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(planning, "forecast", lambda job: self.plan(None, corrections=7))
        monkeypatch.setattr(planning.time, "process_time", lambda: 3.0)  # until the job is loaded

        assert solve("solver.prototxt", "--plan") == 0

        out = capsys.readouterr().out
        assert "512x384, 100 iterations of 1.2 s: 2:05, memory 3.50 GB" in out
        assert "3.50 GB at most, of it 200 MB held; 2.00 GB free" in out
        assert "about 2:08, 3.0 s of it before and after" in out
        assert "7 pairs instead of 10" in out
        assert not Path("out.png").exists()

    def test_short_times_are_told_by_the_tenth(self) -> None:
        assert [planning.duration(s) for s in (0.04, 8.44, 59.94, 59.96)] == [
            "0.0 s",
            "8.4 s",
            "59.9 s",
            "1:00",
        ]

    def test_a_plan_that_does_not_fit_ends_with_the_size_that_does(
        self,
        workshop: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(planning, "forecast", lambda job: self.plan(388))

        assert solve("solver.prototxt", "--plan") == 2
        assert "The largest size that fits is 388" in capsys.readouterr().err

    def test_a_run_without_a_plan_is_refused_too(
        self,
        workshop: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(forecast_module, "available_bytes", lambda: 100_000)
        monkeypatch.setattr(forecast_module, "forecast", lambda job, free: self.plan(100))

        assert solve("solver.prototxt") == 2
        assert "memory: the run would not fit" in capsys.readouterr().err


KILLED = """
import sys, time
from nst.cli import batch
from nst.cli.solve import main
from nst.style.batch import Batch
from nst.style.run import StyleRun

def tell(progress, run):
    print(progress.done, flush=True)
    time.sleep(0.02)

made = Batch.__init__
def init(self, *args, **options):
    made(self, *args, **options)
    self.observers = [tell]
Batch.__init__ = init
main(sys.argv[1:])
"""


@pytest.mark.parametrize("lines", [2, 5, 7])
def test_a_killed_batch_is_continued_by_starting_it_again(
    lines: int, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "broken.png").unlink()
    words = ["solver.prototxt", "--batch", str(photos), "--snapshot", "1", "--backend", "numpy"]
    assert main([*words, "--output", "whole"]) == 0
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": ""}
    command = [sys.executable, "-c", KILLED, *words, "--output", "o", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(lines)]
        process.kill()
    assert told[-1].strip().isdigit()
    capsys.readouterr()

    assert main([*words, "--output", "o"]) == 0

    out = capsys.readouterr().out
    assert ("there already" in out) == (lines > 4)  # the first picture takes 4 iterations
    assert sorted(path.name for path in Path("o").glob("[!.]*")) == ["a.png", "b.png"]
    for name in ("a.png", "b.png"):
        with Image.open(f"whole/{name}") as one, Image.open(f"o/{name}") as other:
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_a_killed_run_is_resumed_from_the_command_line(workshop: Path) -> None:
    words = ["solver.prototxt", "--iterations", "40", "--snapshot", "1", "--backend", "numpy"]
    assert main([*words, "--output", "whole.png"]) == 0
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": ""}
    command = [sys.executable, "-m", "nst", "solve", *words, "--output", "out.png"]
    with subprocess.Popen(
        [*command, "--display", "1"], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("iteration 7/"):
                break
        process.kill()
    assert not Path("out.png").exists()

    assert main([*words, "--resume", "out.snapshot"]) == 0

    with Image.open("whole.png") as one, Image.open("out.png") as other:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    assert not Path("out.snapshot").exists()
