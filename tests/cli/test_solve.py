"""`nst-solve` from its words to its files."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nst.backend import get_backend
from nst.cli import painting
from nst.cli.main import main as nst
from nst.cli.solve import main
from nst.io.prototxt import parse_net, parse_solver
from nst.io.recipe import read_recipe
from nst.net import Net
from nst.style.run import Observer

SOURCE = Path(__file__).resolve().parents[2] / "src"


def solve(*words: object) -> int:
    """Runs on the numpy backend, unless told otherwise."""
    return main([*map(str, words), "--backend", "numpy"])


def rows_of(path: str | Path) -> list[dict[str, str]]:
    with Path(path).open() as file:
        return list(csv.DictReader(file))


def test_a_solver_file_alone_makes_its_picture(workshop: Path) -> None:
    assert solve("solver.prototxt") == 0
    with Image.open("out.png") as image:
        assert image.size == (24, 18)


def test_the_lines_say_what_is_done_and_where_the_picture_is(
    workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    solve("solver.prototxt")
    out, err = capsys.readouterr()
    assert "painting town.png in the manner of waves.png" in out
    assert "numpy, asked for: plain numpy" in out
    assert "conv1_1 (1), conv2_1 (2)" in out
    assert "saved out.png (24x18) after 4 iterations" in out
    assert err == ""


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_precision_that_is_not_there_is_refused_in_one_line(
    workshop: Path, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    assert solve("solver.prototxt", "--precision", precision) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"precision: backend 'numpy' computes in fp32 (got {precision})" in line


def test_a_pipe_gets_about_twenty_lines_of_progress(
    workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    solve("solver.prototxt", "--iterations", "40", "--type", "SGD", "--base-lr", "1e-3")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("iteration")]
    assert lines[0].startswith("iteration 1/40  24x18  loss ")
    assert lines[-1].startswith("iteration 40/40")
    assert 20 <= len(lines) <= 21


def test_display_chooses_the_lines(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    solve("solver.prototxt", "--display", "0")
    assert "iteration " not in capsys.readouterr().out.replace("iterations", "")


def test_loss_terms_are_shown_content_first_and_without_their_prefix(
    workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    solve("solver.prototxt", "--tv-weight", "1e-3")
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("iteration 1/"))
    names = [word for word in line.split() if word[0].isalpha()]
    assert names[2:6] == ["conv3_1", "gram_conv1_1", "gram_conv2_1", "tv"]


def test_quiet_prints_nothing(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert solve("solver.prototxt", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_flags_beat_the_file(workshop: Path) -> None:
    assert solve("solver.prototxt", "--size", 32, "--iterations", 2, "--output", "b.png") == 0
    recipe = read_recipe("b.png")
    assert recipe.results["iterations"] == 2
    assert (recipe.results["height"], recipe.results["width"]) == (24, 32)


def test_one_size_replaces_a_schedule_of_the_file(workshop: Path) -> None:
    text = (
        Path("solver.prototxt")
        .read_text()
        .replace("size: 24", "sizes: [16, 24] iterations: [3, 2]")
    )
    Path("solver.prototxt").write_text(text)
    solve("solver.prototxt", "--size", 20)
    recipe = read_recipe("out.png")
    assert (recipe.results["width"], recipe.results["iterations"]) == (20, 4)


def test_sizes_and_iterations_run_coarse_to_fine(workshop: Path) -> None:
    solve("solver.prototxt", "--sizes", "16,24", "--iterations", "3,2", "--history", "h.csv")
    rows = rows_of("h.csv")
    assert [(row["iteration"], row["stage"], row["width"]) for row in rows] == [
        ("1", "1", "16"),
        ("2", "1", "16"),
        ("3", "1", "16"),
        ("4", "2", "24"),
        ("5", "2", "24"),
    ]


def test_several_styles_with_weights_need_no_file(workshop: Path) -> None:
    code = solve(
        *("--net", "net.prototxt", "--weights", "tiny.caffemodel", "--content", "town.png"),
        *("--style", "waves.png:3", "--style", "town.png", "--style-layers", "conv1_1:0.5,conv2_1"),
        *("--content-layers", "conv3_1", "--iterations", 2, "--size", 24, "--preset", "johnson"),
    )
    assert code == 0
    settings = parse_solver(read_recipe("town_waves_town.png").options["solver"])
    styles = settings.style_transfer_param.style
    assert [(term.image, term.weight) for term in styles] == [("waves.png", 3), ("town.png", 1)]
    assert [[(tap.name, tap.weight) for tap in term.layer] for term in styles] == (
        [[("conv1_1", 0.5), ("conv2_1", 1)]] * 2
    )
    assert settings.style_transfer_param.preset == "johnson"


def test_a_net_of_ones_own_needs_no_preset_and_no_layer_names(workshop: Path) -> None:
    code = solve(
        *("--net", "net.prototxt", "--weights", "tiny.caffemodel", "--content", "town.png"),
        *("--style", "waves.png", "--size", 24, "--coarsest-size", 0, "--iterations", 2),
    )

    assert code == 0
    settings = parse_solver(read_recipe("town_waves.png").options["solver"])
    assert settings.style_transfer_param.preset == "fine"


def test_style_scale_of_each_style_goes_to_each(workshop: Path) -> None:
    solve(
        *("solver.prototxt", "--style", "waves.png", "--style", "town.png"),
        *("--style-scale", "0.8,1.5", "--iterations", 1),
    )
    settings = parse_solver(read_recipe("out.png").options["solver"])
    assert [round(term.scale, 3) for term in settings.style_transfer_param.style] == [0.8, 1.5]


def test_without_a_file_the_embedded_model_paints(workshop: Path) -> None:
    code = solve("--content", "town.png", "--style", "waves.png", "--size", 32, "--iterations", 1)
    assert code == 0
    recipe = read_recipe("town_waves.png")
    assert recipe.files["weights"].name == "quickstart.caffemodel"
    assert parse_solver(recipe.options["solver"]).style_transfer_param.preset == "fine"


def test_a_name_made_here_never_takes_an_existing_picture(workshop: Path) -> None:
    words = ("--content", "town.png", "--style", "waves.png", "--size", 32, "--iterations", 1)
    solve(*words)
    first = Path("town_waves.png").read_bytes()
    solve(*words, "--seed", 5)
    assert Path("town_waves.png").read_bytes() == first
    assert Path("town_waves_2.png").exists()


def test_a_named_picture_is_replaced(workshop: Path) -> None:
    Path("out.png").write_bytes(b"old")
    assert solve("solver.prototxt") == 0
    assert Path("out.png").read_bytes()[:4] == b"\x89PNG"


def test_no_overwrite_keeps_a_named_picture(
    workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out.png").write_bytes(b"old")
    assert solve("solver.prototxt", "--no-overwrite") == 2
    assert Path("out.png").read_bytes() == b"old"
    assert "out.png: exists already" in capsys.readouterr().err


def test_save_every_writes_numbered_pictures_beside_the_output(workshop: Path) -> None:
    solve("solver.prototxt", "--save-every", 2, "--output", "sub/p.jpg")
    assert sorted(path.name for path in Path("sub").iterdir()) == [
        "p.jpg",
        "p.jpg.recipe.json",
        "p_0002.jpg",
        "p_0004.jpg",
    ]


def test_the_history_has_terms_that_add_up_to_the_loss(workshop: Path) -> None:
    solve("solver.prototxt", "--history", "deep/h.csv")
    rows = rows_of("deep/h.csv")
    assert list(rows[0])[:5] == ["iteration", "stage", "height", "width", "loss"]
    assert list(rows[0])[-4:] == ["step", "evaluations", "gradient_norm", "seconds"]
    terms = [name for name in rows[0] if name.startswith("loss_")]
    assert len(terms) == 3
    for row in rows:
        assert float(row["loss"]) == pytest.approx(sum(float(row[t]) for t in terms), rel=1e-5)


def test_the_plot_is_a_picture(workshop: Path) -> None:
    solve("solver.prototxt", "--plot", "p.png")
    with Image.open("p.png") as image:
        assert image.size == (960, 600)


def test_the_recipe_tells_all_and_no_folder(workshop: Path) -> None:
    solve(workshop / "solver.prototxt", "--seed", 7)
    recipe = read_recipe("out.png")
    assert recipe.command[0] == "nst-solve"
    assert recipe.seed == 7
    assert recipe.backend == "numpy"
    assert set(recipe.files) == {"net", "weights", "content", "style"}
    assert {"nst", "python", "numpy", "protobuf", "pillow"} <= set(recipe.versions)
    assert str(workshop) not in recipe.to_json()


def test_the_solver_text_of_a_recipe_makes_the_same_picture(workshop: Path) -> None:
    solve("solver.prototxt", "--init", "noise", "--seed", 3, "--tv-weight", "0.01")
    first = Path("out.png").read_bytes()
    text = read_recipe("out.png").options["solver"]
    Path("again.prototxt").write_text(text)
    solve("again.prototxt", "--output", "again.png")
    pictures = [np.asarray(Image.open(name)) for name in ("out.png", "again.png")]
    assert first
    np.testing.assert_array_equal(*pictures)


def test_the_dumped_net_parses_and_builds(workshop: Path) -> None:
    solve("solver.prototxt", "--dump-net", "aug.prototxt")
    net = Net(parse_net(Path("aug.prototxt").read_text()), backend=get_backend("numpy"))
    assert net.params["input1"][0].shape == (1, 3, 18, 24)
    assert {"gram_conv1_1", "event_gram_conv1_1", "input_gram_conv1_1", "loss_gram_conv1_1"} <= set(
        net.layer_names
    )


@pytest.mark.parametrize(("asked", "is_trimmed"), [((), False), (("--style-margin", 1), True)])
def test_a_tileable_picture_has_no_edge_to_leave_out(
    asked: tuple[object, ...], is_trimmed: bool, workshop: Path
) -> None:
    """Not even where the solver file leaves one out, but where a flag does."""
    text = Path("solver.prototxt").read_text()
    block = "style_transfer_param {"
    Path("trimming.prototxt").write_text(text.replace(block, f"{block} style_margin: 1 "))
    words = ("trimming.prototxt", "--tileable", *asked, "--iterations", 1, "--dump-net", "net.txt")
    assert solve(*words) == 0
    types = {layer.type for layer in parse_net(Path("net.txt").read_text()).layer}
    assert "Pad" in types
    assert ("Trim" in types) == is_trimmed


def test_a_net_dumped_to_the_screen_is_alone_there(
    workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert solve("solver.prototxt", "--dump-net", "-") == 0
    out, err = capsys.readouterr()
    assert parse_net(out).name == "tiny"
    assert "saved out.png" in err


def test_nst_solve_is_an_alias(workshop: Path) -> None:
    assert nst(["solve", "solver.prototxt", "--backend", "numpy", "--output", "alias.png"]) == 0
    assert Path("alias.png").exists()


def test_notes_come_after_the_headline(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--preset", "johnson", "--style-layers", "conv1_1", "--content-layers", "conv3_1")
    solve("solver.prototxt", *words, "--iterations", 1, "--size", 24)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("painting")
    assert any("note" in line and "preset 'johnson'" in line for line in lines)


def test_gradient_shares_are_told_at_the_end_of_each_size(
    workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        solve("solver.prototxt", "--report-gradients", "--sizes", "16,24", "--iterations", 1) == 0
    )
    notes = [line for line in capsys.readouterr().out.splitlines() if "gradient shares" in line]
    assert len(notes) == 2
    assert all("%" in note and "conv" in note for note in notes)


# ---- stopping ---------------------------------------------------------------------------------------------


def start(workshop: Path, *words: str) -> subprocess.Popen[str]:
    """A run of its own process that would go on for very long, and has made its first iteration."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from nst.cli.solve import main; sys.exit(main())"]
        + ["solver.prototxt", "--type", "SGD", "--base-lr", "1e-6", "--iterations", "1000000"]
        + ["--backend", "numpy", "--display", "1", *words],
        cwd=workshop,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while not process.stdout.readline().startswith("iteration 1/"):
        assert process.poll() is None
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_its_picture_and_history(
    workshop: Path, number: signal.Signals
) -> None:
    process = start(workshop, "--history", "h.csv")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err == ""
    assert "saved out.png" in out
    assert "stopping after this iteration" in out
    assert "stop was requested" in out
    assert "--resume out.snapshot" in out
    done = read_recipe(workshop / "out.png").results["iterations"]
    rows = rows_of(workshop / "h.csv")
    assert len(rows) == done < 1000000


def test_a_resumed_run_ends_with_the_picture_of_one_that_was_not_stopped(
    workshop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("solver.prototxt", "--init", "noise", "--type", "Adam", "--base-lr", 3, "--seed", 4)
    solve(*words, "--iterations", 9, "--output", "whole.png")

    def stopping_at_five(*job: object) -> Observer:
        return lambda progress, run: run.stop() if progress.done == 5 else None

    with monkeypatch.context() as patch:
        patch.setattr(painting, "saver", stopping_at_five)
        solve(*words, "--iterations", 9, "--output", "part.png")
    assert read_recipe("part.png").results["iterations"] == 5
    assert solve(*words, "--iterations", 9, "--resume", "part.snapshot") == 0
    pictures = [np.asarray(Image.open(name)) for name in ("whole.png", "out.png")]
    np.testing.assert_array_equal(*pictures)


def test_a_resumed_run_without_a_name_goes_on_at_its_picture(
    workshop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--content", "town.png", "--style", "waves.png", "--size", 32, "--iterations", 2)
    with monkeypatch.context() as patch:
        patch.setattr(painting, "saver", lambda *job: lambda progress, run: run.stop())
        solve(*words)
    assert solve(*words, "--resume", "town_waves.snapshot") == 0
    assert [path.name for path in workshop.glob("town_*")] == ["town_waves.png"]
    assert read_recipe("town_waves.png").results["iterations"] == 2


@pytest.mark.parametrize(
    ("words", "snapshot"),
    [
        ((), ["out.snapshot"]),
        (("--snapshot-prefix", "s/x"), ["s/x.snapshot"]),
        (("--snapshot", 0), []),
    ],
)
def test_a_stopped_run_leaves_its_snapshot(
    words: tuple[object, ...],
    snapshot: list[str],
    workshop: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(painting, "saver", lambda *job: lambda progress, run: run.stop())
    solve("solver.prototxt", *words)
    assert [str(path.relative_to(workshop)) for path in workshop.rglob("*.snapshot")] == snapshot


def test_a_finished_run_removes_its_snapshot(workshop: Path) -> None:
    solve("solver.prototxt", "--snapshot", 1)
    assert not list(workshop.glob("*.snapshot"))


def test_a_second_signal_aborts_at_once(workshop: Path) -> None:
    process = start(workshop, "--save-every", "1")
    # The run ends within an iteration, so both signals are sent while it cannot take the first.
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "nst-solve: error: aborted\n"


def test_the_terminal_display_shows_bar_speed_and_terms(workshop: Path) -> None:
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from nst.cli.solve import main; sys.exit(main())"]
        + ["solver.prototxt", "--backend", "numpy", "--iterations", "30"],
        cwd=workshop,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "TERM": "xterm", "COLUMNS": "100"},
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    shown = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            piece = os.read(master, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not piece:
            break
        shown += piece
    assert process.wait(timeout=60) == 0
    text = shown.decode()
    assert "30/30" in text
    assert "it/s" in text
    assert "gram_conv1_1" in text
    assert "saved out.png" in text
