"""The log in glog's form, and how it is silenced."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

from nst.errors import UsageError
from nst.pycaffe import Net, init_log, log, to_proto
from nst.pycaffe import layers as L


@pytest.fixture(autouse=True)
def the_log_is_put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("GLOG_minloglevel", raising=False)
    package = logging.getLogger("nst")
    kept = package.level, list(package.handlers)
    yield
    package.setLevel(kept[0])
    package.handlers[:] = kept[1]


def test_nothing_is_told_unless_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    log("nobody hears this")

    assert capsys.readouterr().err == ""


def test_a_line_has_the_head_of_glogs(capsys: pytest.CaptureFixture[str]) -> None:
    init_log()
    init_log(0, True)

    log("hello")

    line = r"I\d{4} \d\d:\d\d:\d\d\.\d{6} \d+ pycaffe\] hello\n"
    assert re.fullmatch(line, capsys.readouterr().err)


def test_nets_tell_their_layers(capsys: pytest.CaptureFixture[str]) -> None:
    init_log()

    Net(to_proto(L.Input(name="first", shape={"dim": [2, 3]})), phase=1)

    assert "first" in capsys.readouterr().err


@pytest.mark.parametrize(("level", "environment"), [(1, "0"), (0, "1")])
def test_severities_below_the_level_or_the_environments_are_left_out(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    level: int,
    environment: str,
) -> None:
    init_log(level)
    monkeypatch.setenv("GLOG_minloglevel", environment)

    log("quiet")
    logging.getLogger("nst.io").warning("loud")

    assert capsys.readouterr().err.endswith(" io] loud\n")


def test_another_level_is_refused() -> None:
    with pytest.raises(UsageError, match="got level 9, expected 0 to 3"):
        init_log(9)
