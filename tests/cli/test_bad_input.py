"""Bad input: exit code 2 and one line on stderr, never a traceback; failed runs: exit code 1."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.workshop import write_tiny_model

from nst.cli import painting
from nst.cli import solve as solve_module
from nst.cli.main import main as nst
from nst.cli.solve import main
from nst.errors import FileError
from nst.io.caffemodel import write_caffemodel
from nst.proto import NetParameter

BAD_WORDS = {
    "unknown flag": (["--contet", "town.png"], "--contet.* Did you mean '--content'?"),
    "unknown preset": (["--preset", "gatis"], "Did you mean 'gatys'"),
    "unknown backend": (["--backend", "gpu"], "backend: unknown name"),
    "unknown solver type": (["--type", "LBFG"], "Did you mean 'LBFGS'"),
    "unknown rate policy": (["--type", "SGD", "--lr-policy", "cosine"], "cosine"),
    "unknown word": (["--init", "nose"], "--init: unknown (got 'nose'"),
    "unknown layer": (["--style-layers", "conv9_9"], "conv9_9"),
    "unknown model": (["--model", "vgg"], "--model: not with a solver file"),
    "size 0": (["--size", "0"], "size: too small"),
    "negative size": (["--size", "-3"], "--size: got '-3'"),
    "one size and several": (["--size", "24", "--sizes", "16,24"], "one size or --sizes"),
    "falling sizes": (["--sizes", "64,32"], "sizes: must rise"),
    "no iterations": (["--iterations", "0"], "no iterations"),
    "iterations that do not fit": (
        ["--sizes", "16,24", "--iterations", "1,2,3"],
        "iterations: one",
    ),
    "a word for a number": (["--content-weight", "much"], "--content-weight: invalid float"),
    "a weight that is none": (["--style-layers", "conv1_1:x"], "no weight after the colon"),
    "negative weight": (["--style-weight", "-1"], "weights must be finite"),
    "nan weight": (["--tv-weight", "nan"], "weights must be finite"),
    "blend above 1": (["--blend", "1.5"], "blend must be a share"),
    "no threads": (["--threads", "0"], "--threads: must be at least 1"),
    "missing content": (["--content", "gone.png"], "gone.png: no such file"),
    "folder as content": (["--content", "."], "folder"),
    "text as content": (["--content", "net.prototxt"], "net.prototxt"),
    "broken picture": (["--content", "cut.png"], "cut.png"),
    "missing style": (["--style", "gone.png:2"], "gone.png: no such file"),
    "missing net": (["--net", "gone.prototxt"], "gone.prototxt"),
    "weights that are garbage": (["--weights", "noise.caffemodel"], "noise.caffemodel"),
    "weights that are a page": (["--weights", "page.caffemodel"], "page.caffemodel"),
    "weights that are missing": (["--weights", "gone.caffemodel"], "gone.caffemodel"),
    "weights of another net": (["--weights", "foreign.caffemodel"], "no weights for"),
    "weights not fetched": (["--weights", "vgg19"], "nst weights fetch vgg19"),
    "output without a suffix": (["--output", "picture"], "unknown picture format"),
    "output is a folder": (["--output", "folder.png"], "folder.png: is a folder"),
    "output is an input": (["--output", "town.png"], "one of the pictures that go in"),
    "plot without a format": (["--plot", "p.xyz"], "p.xyz: unknown plot format"),
    "history where no folder can be": (["--history", "town.png/h.csv"], "town.png"),
    "history that is a folder": (["--history", "folder.png"], "folder.png: is a folder"),
    "missing snapshot": (["--resume", "gone.snapshot"], "gone.snapshot"),
    "damaged snapshot": (["--resume", "noise.caffemodel"], "noise.caffemodel"),
    "style scales that do not fit": (["--style-scale", "1,2"], "--style-scale: one for all"),
}


def prepare(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are not what they should be."""
    monkeypatch.setenv("NST_CACHE", str(workshop / "cache"))
    (workshop / "cut.png").write_bytes((workshop / "town.png").read_bytes()[:500])
    rng = np.random.default_rng(1)
    (workshop / "noise.caffemodel").write_bytes(rng.bytes(5000))
    (workshop / "page.caffemodel").write_text("<!DOCTYPE html><html>404</html>")
    foreign = NetParameter(name="foreign")
    foreign.layer.add(name="other", type="InnerProduct").blobs.add(data=[1.0, 2.0])
    write_caffemodel(workshop / "foreign.caffemodel", foreign)
    (workshop / "folder.png").mkdir()


@pytest.mark.parametrize("case", BAD_WORDS)
def test_bad_input_is_one_line_and_exit_code_2(
    case: str, workshop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(workshop, monkeypatch)
    words, expected = BAD_WORDS[case]
    backend = [] if "--backend" in words else ["--backend", "numpy"]
    assert main(["solver.prototxt", *backend, *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("nst-solve: error: ")
    assert err.count("\n") == 1
    first, _, rest = expected.partition(".*")
    assert first in err
    assert rest in err
    assert not Path("out.png").exists()


BAD_FILES = {
    "missing": (None, "gone.prototxt"),
    "a typo in a field": ("max_iterr: 3", "s.prototxt:1:1"),
    "a net instead of a solver": ('layer { name: "x" type: "ReLU" }', "s.prototxt:1:1"),
    "cut off": ("style_transfer_param {", "s.prototxt:1"),
    "binary": ("\x00\x01\x02", "s.prototxt:1:1"),
    "empty": ("", "none given"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_solver_file_is_one_line_and_exit_code_2(
    case: str, workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, expected = BAD_FILES[case]
    Path("s.prototxt").write_text(text or "")
    assert main(["gone.prototxt" if text is None else "s.prototxt"]) == 2
    err = capsys.readouterr().err
    assert expected in err
    assert err.count("\n") == 1


def test_weights_with_a_nan_fail_before_the_first_picture(
    workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_model(workshop, lambda values: np.where(values > 0.5, np.nan, values))
    assert main(["solver.prototxt", "--backend", "numpy"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "iteration 0" in err
    assert "conv1_1" in err
    assert not Path("out.png").exists()


def test_a_run_that_diverges_keeps_its_best_picture(
    workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["solver.prototxt", "--backend", "numpy", "--type", "SGD", "--base-lr", "1e30"]
    assert main([*words, "--history", "h.csv"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "no longer finite" in err
    assert "The best picture is in out.png" in err
    assert Path("out.png").exists()
    assert Path("h.csv").exists()


def raising(error: BaseException) -> Callable[..., int]:
    def run(*args: object, **options: object) -> int:
        raise error

    return run


def test_an_unexpected_exception_is_one_line(
    workshop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(solve_module, "load_job", raising(KeyError("surprise")))
    assert main(["solver.prototxt"]) == 1
    assert capsys.readouterr().err == (
        "nst-solve: error: unexpected KeyError: 'surprise'; run with --debug for the traceback\n"
    )


def test_debug_shows_the_traceback(
    workshop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(solve_module, "load_job", raising(KeyError("surprise")))
    assert main(["solver.prototxt", "--debug"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_full_memory_is_told_with_a_way_out(
    workshop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(solve_module, "load_job", raising(MemoryError()))
    assert main(["solver.prototxt"]) == 1
    assert capsys.readouterr().err == (
        "nst-solve: error: out of memory. A smaller --size needs less\n"
    )


def test_a_plot_without_matplotlib_is_refused_before_the_run(
    workshop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["solver.prototxt", "--plot", "p.png"]) == 2
    assert "pip install 'nst-caffe[plot]'" in capsys.readouterr().err
    assert not Path("out.png").exists()


def test_a_disk_that_fills_up_is_a_failed_run(
    workshop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        painting, "write_picture", raising(FileError("No space left", path="out.png"))
    )
    assert main(["solver.prototxt", "--backend", "numpy"]) == 1
    assert capsys.readouterr().err == (
        "nst-solve: error: out.png: No space left. "
        "Nothing is lost: --resume out.snapshot writes it again\n"
    )


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert nst(["pant"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "pant" in err


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert nst(["--help"]) == 0
    assert main(["--help"]) == 0
    assert "solver.prototxt" in capsys.readouterr().out
