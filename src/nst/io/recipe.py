"""The recipe of a picture: all that made it, carried inside the PNG or beside the others.

A PNG carries the recipe as JSON in an iTXt chunk with the keyword `nst`; `out.jpg` has it beside it
in `out.jpg.recipe.json`. `read_recipe` reads both. A recipe travels with the picture to strangers,
so folders are cut off every path: files are known by their name and their SHA-256. It holds no
date: the same run gives the same bytes.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from PIL import Image

from nst.errors import FileError
from nst.io.images import sha256_of

KEYWORD = "nst"
FORMAT = 1

# An absolute path of POSIX or Windows, or one below somebody's home, alone or after `--option=`.
_ABSOLUTE = re.compile(
    r"(?P<before>(?:--?[\w-]+=)?)(?P<path>(?:/|~|[A-Za-z]:[\\/]|\\\\).*)", re.DOTALL
)


@dataclass(frozen=True)
class FileRecord:
    """A file that went into a picture: its name without folders, and the SHA-256 of its bytes."""

    name: str
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileRecord:
        """Reads the file for its hash; raises FileError if it cannot be read."""
        try:
            with path.open("rb") as file:
                return cls(path.name, sha256_of(file))
        except OSError as error:
            raise FileError(
                f"cannot be read ({error.strerror or error})", path=str(path)
            ) from error


@dataclass(frozen=True)
class Recipe:
    """What made a picture.

    `command` are the words of the command line; `options` every option with its value, defaults
    included; `versions` of nst, Python and the libraries that computed; `files` the inputs by role
    (content, style, weights, net); `results` what came out (iterations, loss). Values are what JSON
    holds; paths lose their folders.
    """

    command: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, FileRecord] = field(default_factory=dict)
    seed: int | None = None
    backend: str = ""
    results: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("command", "options", "results"):
            object.__setattr__(self, name, _without_folders(getattr(self, name)))

    def to_json(self) -> str:
        """The recipe as indented JSON, keys in the order of the fields."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=2, default=str)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The inverse of `to_json`; raises ValueError for text that is no recipe."""
        values = json.loads(text)
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise ValueError(f"not a recipe of format {FORMAT}")
        known = {entry.name for entry in dataclasses.fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise ValueError(f"unknown entries {unknown}")
        files = values.pop("files", {})
        return cls(files={role: FileRecord(**record) for role, record in files.items()}, **values)


def recipe_path(picture: Path) -> Path:
    """Where the recipe lies of a picture that cannot carry it: `out.jpg.recipe.json`."""
    return picture.with_name(picture.name + ".recipe.json")


def read_recipe(picture: str | Path) -> Recipe:
    """Reads the recipe inside or beside a picture; FileError if there is none or it is damaged."""
    picture = Path(picture)
    beside = recipe_path(picture)
    try:
        text = _text_inside(picture)
        if text is None and beside.is_file():
            text = beside.read_text(encoding="utf-8")
    except Exception as error:  # a damaged PNG makes Pillow raise nearly anything
        raise FileError(f"cannot be read ({error})", path=str(picture)) from error
    if text is None:
        raise FileError(
            f"carries no recipe (looked inside, and for {beside.name!r} beside it)",
            path=str(picture),
        )
    try:
        return Recipe.from_json(text)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise FileError(f"its recipe is damaged ({error})", path=str(picture)) from error


def _text_inside(picture: Path) -> str | None:
    if picture.suffix.lower() != ".png":
        picture.stat()
        return None
    with Image.open(picture, formats=["PNG"]) as image:
        image.load()  # text may follow the pixels
        text = image.info.get(KEYWORD)
    return None if text is None else str(text)


def _without_folders(value: Any) -> Any:
    """A copy without the folders of every Path object and every text that is an absolute path."""
    if isinstance(value, PurePath):
        return value.name
    if isinstance(value, str):
        match = _ABSOLUTE.fullmatch(value)
        return (
            match["before"] + re.split(r"[\\/]", match["path"].rstrip("\\/"))[-1]
            if match
            else value
        )
    if isinstance(value, Mapping):
        return {str(key): _without_folders(entry) for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [_without_folders(entry) for entry in value]
    return value
