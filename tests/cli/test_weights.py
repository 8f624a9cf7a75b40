"""`nst weights`, called as the main program calls it."""

from __future__ import annotations

import argparse
import hashlib
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from nst.cli import weights
from nst.errors import FileError, UsageError, WeightsError
from nst.io import known_models
from nst.io.weights import read_weights
from nst.proto import NetParameter

KERNEL = np.arange(2 * 3 * 3 * 3, dtype=np.float32).reshape(2, 3, 3, 3)


def call(*words: object) -> int:
    parser = argparse.ArgumentParser(prog="nst")
    weights.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["weights", *map(str, words)])
    code: int = args.run(args)
    return code


@pytest.fixture
def caffemodel(tmp_path: Path) -> Path:
    """One convolution of two blobs and one layer without any."""
    net = NetParameter(name="tiny")
    convolution = net.layer.add(name="conv[1]", type="Convolution")
    for values in (KERNEL, np.array([0.5, -0.5], np.float32)):
        blob = convolution.blobs.add(data=values.ravel())
        blob.shape.dim.extend(values.shape)
    net.layer.add(name="relu1", type="ReLU")
    path = tmp_path / "tiny.caffemodel"
    path.write_bytes(net.SerializeToString())
    return path


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A server of the files in `tmp_path`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def known(
    tmp_path: Path, caffemodel: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, object]:
    """The entry of the only known model, `tiny`, whose weights the server has."""
    data = caffemodel.read_bytes()
    entry: dict[str, object] = {
        "description": "one convolution",
        "file": "TINY.caffemodel",
        "url": f"{address}/{caffemodel.name}",
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "license": "CC0",
        "net": "net.prototxt",
    }
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "known.json").write_text(json.dumps({"tiny": entry}))
    monkeypatch.setattr(known_models, "locate_models", lambda: folder)
    monkeypatch.setenv("NST_CACHE", str(tmp_path / "cache"))
    return entry


def test_info_lists_layers_with_type_shapes_and_size(
    caffemodel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("info", caffemodel) == 0
    title, layer, total = capsys.readouterr().out.splitlines()
    assert title.split() == ["layer", "type", "shapes", "MB"]
    assert layer.split() == ["conv[1]", "Convolution", "2x3x3x3", "2", "0.00"]
    assert total == "tiny.caffemodel: 1 layers with weights, 1 without; 56 values, 0.00 MB"


def test_info_draws_a_table_on_a_terminal_and_takes_no_name_for_markup(
    caffemodel: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    call("info", caffemodel)
    out = capsys.readouterr().out
    assert "────" in out
    assert "conv[1]" in out


def test_info_takes_the_name_of_a_fetched_model(
    known: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    call("fetch", "tiny")
    call("info", "tiny")
    assert "TINY.caffemodel: 1 layers with weights" in capsys.readouterr().out


def test_info_of_weights_that_are_not_here_gives_the_command(known: dict[str, object]) -> None:
    with pytest.raises(WeightsError, match="nst weights fetch tiny"):
        call("info", "tiny")


def test_convert_goes_to_hdf5_and_back_with_every_value(
    caffemodel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("convert", caffemodel, tmp_path / "a.caffemodel.h5") == 0
    assert call("convert", tmp_path / "a.caffemodel.h5", tmp_path / "b.caffemodel") == 0
    blobs = read_weights(tmp_path / "b.caffemodel")["conv[1]"]
    assert blobs[0] is not None
    assert np.array_equal(blobs[0].array, KERNEL)
    assert "wrote" in capsys.readouterr().out


def test_convert_knows_two_formats(caffemodel: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'\.pth', expected \.caffemodel or \.h5"):
        call("convert", caffemodel, tmp_path / "a.pth")
    assert not (tmp_path / "a.pth").exists()


def test_convert_does_not_overwrite_its_source(caffemodel: Path) -> None:
    with pytest.raises(UsageError, match="would overwrite what it is made from"):
        call("convert", caffemodel, caffemodel.parent / "." / caffemodel.name)


def test_convert_of_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        call("convert", tmp_path / "none.caffemodel", tmp_path / "a.h5")


def test_fetch_prints_where_the_file_is_and_lines_of_progress_in_a_pipe(
    known: dict[str, object], caffemodel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("fetch", "tiny") == 0
    captured = capsys.readouterr()
    path = tmp_path / "cache" / "tiny" / "TINY.caffemodel"
    assert captured.out == f"{path}\n"
    assert path.read_bytes() == caffemodel.read_bytes()
    assert captured.err.splitlines()[-1].startswith("tiny: ")


def test_fetch_draws_a_bar_on_a_terminal(
    known: dict[str, object], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    call("fetch", "tiny")
    assert "━" in capsys.readouterr().err


def test_fetch_into_another_cache(known: dict[str, object], tmp_path: Path) -> None:
    call("fetch", "tiny", "--cache", tmp_path / "other")
    assert (tmp_path / "other" / "tiny" / "TINY.caffemodel").is_file()


def test_fetch_of_an_unknown_name_suggests_the_nearest(known: dict[str, object]) -> None:
    with pytest.raises(WeightsError, match="Did you mean 'tiny'"):
        call("fetch", "tinny")


def test_fetch_into_a_file_is_an_error(known: dict[str, object], caffemodel: Path) -> None:
    with pytest.raises(FileError, match="cannot be written"):
        call("fetch", "tiny", "--cache", caffemodel)


def test_list_says_where_the_weights_are(
    known: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    call("list")
    before = capsys.readouterr().out
    call("fetch", "tiny")
    call("list")
    after = capsys.readouterr().out
    assert "to be fetched" in before
    assert "in the cache" in after


def test_without_an_action_the_usage_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        call()
    assert caught.value.code == 2
    assert "ACTION" in capsys.readouterr().err
