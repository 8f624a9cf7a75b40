"""The tutorials do what they say: their flags exist, their commands run, their pictures are there."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from nst.cli.main import _parser
from nst.cli.main import main as nst
from nst.cli.outcome import OneLineParser
from nst.cli.solve import add_flags
from nst.cli.solve import main as nst_solve

REPO = Path(__file__).resolve().parent.parent
TUTORIALS = REPO / "docs/tutorials"
PAGES = sorted([*TUTORIALS.glob("*.md"), REPO / "docs/gallery.md"])
FOLLOWED = [
    TUTORIALS / f"{name}.md"
    for name in (
        "first-picture",
        "masks-and-several-styles",
        "video",
        "style-library-and-batches",
    )
]
"""Pages whose commands run here, in small."""

_COMMAND = re.compile(r"^(?:\$ | {4})(nst(?:-solve)? .*)", re.MULTILINE)


def load_pages_module() -> ModuleType:
    """tools/tutorials/pages.py, which is no package that is installed."""
    path = REPO / "tools/tutorials/pages.py"
    spec = importlib.util.spec_from_file_location("tutorials_pages", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


pages = load_pages_module()


def name_of(page: Path) -> str:
    return page.stem


def commands(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    return [command.strip() for command in _COMMAND.findall(text)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_flag_of_a_page_exists(page: Path) -> None:
    for command in commands(page):
        program, *words = shlex.split(command, comments=True)
        if program == "nst-solve":
            parser = OneLineParser(prog=program)
            add_flags(parser)
        else:
            parser = _parser(words[0])
        parser.parse_args(words)


@pytest.mark.parametrize("page", FOLLOWED, ids=name_of)
def test_the_commands_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, source in (("town", "content"), ("swirl", "style")):
        shutil.copyfile(REPO / f"models/quickstart/{source}.jpg", f"{name}.jpg")
    for name in ("mosaic.jpg", "ink.jpg", "dabs.jpg", "sky.png"):
        shutil.copyfile(TUTORIALS / f"pictures/{name}", name)

    for step in pages.steps(page):
        if step.python:
            exec(compile(step.python, str(page), "exec"), {})
        elif "--plan" not in step.words:  # it tries the job in processes of its own
            assert run_in_small(*step.words) == 0, " ".join(step.words)

    for picture in pages.illustrations(page):
        for name in picture.files:
            assert list(tmp_path.glob(name)), f"{page.name}: {name} was not made"


def run_in_small(program: str, *words: str) -> int:
    """The command at 16 pixels, with one iteration; what a flag says twice, the last one says."""
    small = ["--size", "16", "--iterations", "1", "--seed", "0"]
    if program == "nst":
        code = nst([*words, *(small if words[:2] == ("library", "add") else [])])
        assert isinstance(code, int)
        return code
    frames = ["--frame-iterations", "1"] if "--frames" in words else []
    return nst_solve([*words, *small, *frames, "--quiet"])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pictures_are_small_enough_to_carry(page: Path) -> None:
    for picture in pages.illustrations(page):
        assert picture.target.stat().st_size < 200_000, picture.target.name
