"""Reads a page: the commands in its fenced blocks, and what its pictures are put together from.

$ nst-solve --content town.jpg ...       in a fenced block: a command; a backslash continues it
```python                                a block of Python that the page asks the reader to run
<!-- side by side: a.jpg b.png -->       above a picture: made of these files, in one row
<!-- rows of 3: a.png b.png ... -->      in rows of so many
<!-- tiled 2: a.png -->                  so many copies across and down, seam to seam
<!-- animation: a.webp -->               this one, small enough to carry
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PICTURE = re.compile(
    r"<!-- (?P<how>side by side|rows of \d+|tiled \d+|animation): (?P<files>[^>]+?) -->\n"
    r"!\[[^\]]*\]\((?P<target>[^)]+)\)"
)


@dataclass(frozen=True)
class Step:
    """Something the reader runs: words of a command, or Python."""

    words: tuple[str, ...] = ()
    python: str = ""


@dataclass(frozen=True)
class Illustration:
    """A picture of the page and the files that it is made of."""

    target: Path
    files: tuple[str, ...]
    columns: int
    """How many in a row; 0 for an animation."""
    has_gaps: bool = True
    """Whether there is a little white between them."""


def steps(page: Path) -> list[Step]:
    """What the page runs, in order."""
    found = []
    for kind, block in _FENCE.findall(page.read_text(encoding="utf-8")):
        if kind == "python":
            found.append(Step(python=block))
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                found.append(Step(tuple(shlex.split(line[2:]))))
    return found


def illustrations(page: Path) -> list[Illustration]:
    """The pictures of the page that are made by its commands."""
    found = []
    for match in _PICTURE.finditer(page.read_text(encoding="utf-8")):
        files, how = tuple(match["files"].split()), match["how"]
        number = re.search(r"\d+", how)
        columns = int(number[0]) if number else 0 if how == "animation" else len(files)
        is_tiled = how.startswith("tiled")
        files *= columns**2 if is_tiled else 1
        target = (page.parent / match["target"]).resolve()
        found.append(Illustration(target, files, columns, has_gaps=not is_tiled))
    return found
