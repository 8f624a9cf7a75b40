"""docs/cli.md names every command and flag that there is and no other; the flags cover the fields."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from nst.cli.flag_help import (
    OBJECTIVE,
    RESULT,
    SOLVER,
    SPREAD,
    TOTAL_VARIATION,
    VIDEO,
    video_field,
)
from nst.cli.main import COMMANDS, _parser
from nst.cli.solve import add_flags
from nst.proto import InitialImage, StyleTransferParameter, TVLossParameter, VideoParameter

DOCS = (Path(__file__).resolve().parents[2] / "docs/cli.md").read_text(encoding="utf-8")


def flags_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Flags in our spelling: two dashes, no underscores."""
    for action in parser._actions:
        yield from (f for f in action.option_strings if f.startswith("--") and "_" not in f)
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from flags_of(inner)


def all_flags() -> set[str]:
    return {flag for command in COMMANDS for flag in flags_of(_parser(command))}


def documented() -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", DOCS))


def test_every_flag_is_documented() -> None:
    assert all_flags() - documented() == set()


def test_every_documented_flag_exists() -> None:
    assert documented() - all_flags() == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    assert re.search(rf"(nst |`|, ){command}\b", DOCS)


def test_every_field_of_the_style_block_has_a_flag() -> None:
    fields = {field.name for field in StyleTransferParameter.DESCRIPTOR.fields}
    assert fields - {*OBJECTIVE, *RESULT, *SOLVER, *SPREAD} == set()


def test_every_field_of_the_start_has_a_flag() -> None:
    flags = {
        "from": "--init",
        "image": "--init-image",
        "blend": "--blend",
        "noise_std": "--noise-std",
    }
    assert {field.name for field in InitialImage.DESCRIPTOR.fields} == set(flags)
    assert set(flags.values()) <= all_flags()


def test_every_field_of_total_variation_has_a_flag() -> None:
    assert {field.name for field in TVLossParameter.DESCRIPTOR.fields} == set(TOTAL_VARIATION)


def test_every_field_of_a_video_has_a_flag() -> None:
    fields = {field.name for field in VideoParameter.DESCRIPTOR.fields}
    assert fields == {video_field(flag) for flag in VIDEO}


def test_every_flag_of_a_run_has_help() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    assert [action.dest for action in parser._actions if not action.help] == []
