"""The recipe: into the picture and out again, with nothing private in it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nst.errors import FileError
from nst.io.picture_output import write_picture
from nst.io.recipe import FileRecord, Recipe, read_recipe, recipe_path

RECIPE = Recipe(
    command=["nst-solve", "--content", "bridge.jpg", "--size", "512"],
    options={"size": 512, "style_weight": 1e4, "taps": ["conv1_1", "conv2_1"], "tv": None},
    versions={"nst": "0.1.0", "numpy": "2.4.6"},
    files={"content": FileRecord("bridge.jpg", "ab" * 32)},
    seed=7,
    backend="cpu",
    results={"iterations": 120, "loss": 3.25},
)
PIXELS = np.zeros((4, 4, 3), np.uint8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text("abcé ü\n\"'", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_a_picture_gives_its_recipe_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    write_picture(path, PIXELS, recipe=RECIPE)
    assert read_recipe(path) == RECIPE


def test_a_png_carries_its_recipe_alone(tmp_path: Path) -> None:
    write_picture(tmp_path / "out.png", PIXELS, recipe=RECIPE)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.png"]


def test_other_formats_have_it_beside_them_as_json(tmp_path: Path) -> None:
    path = tmp_path / "out.jpg"
    write_picture(path, PIXELS, recipe=RECIPE)
    assert recipe_path(path).name == "out.jpg.recipe.json"
    assert json.loads(recipe_path(path).read_text())["seed"] == 7


def test_other_programs_find_the_standard_entries_in_a_png(tmp_path: Path) -> None:
    write_picture(tmp_path / "out.png", PIXELS, recipe=RECIPE)
    with Image.open(tmp_path / "out.png") as image:
        assert image.info["Software"] == "nst 0.1.0"
        assert image.info["Description"] == "nst-solve --content bridge.jpg --size 512"


@given(
    options=st.dictionaries(st.text("abc"), JSON, max_size=3), seed=st.none() | st.integers(0, 9)
)
def test_json_and_back_is_the_same_recipe(options: dict[str, object], seed: int | None) -> None:
    recipe = Recipe(options=options, seed=seed)
    assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("/home/ann/pictures/cat.jpg", "cat.jpg"),
        ("--content=/home/ann/cat.jpg", "--content=cat.jpg"),
        ("~/cat.jpg", "cat.jpg"),
        (r"C:\Users\Ann\cat.jpg", "cat.jpg"),
        (r"\\server\ann\cat.jpg", "cat.jpg"),
        ("/home/ann/", "ann"),
        (Path("/home/ann/cat.jpg"), "cat.jpg"),
        (PureWindowsPath(r"C:\Users\Ann\cat.jpg"), "cat.jpg"),
        ("conv1_1", "conv1_1"),
        ("--size", "--size"),
        ("1/2", "1/2"),
        ("a:b", "a:b"),
    ],
)
def test_folders_of_the_machine_stay_at_home(value: object, kept: str) -> None:
    recipe = Recipe(command=[value], options={"a": {"b": [value]}}, results={"c": value})  # type: ignore[list-item]
    assert recipe.command == [kept]
    assert recipe.options == {"a": {"b": [kept]}}
    assert recipe.results == {"c": kept}


def test_a_file_is_recorded_by_name_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    path.write_bytes(b"weights" * 1000)
    digest = hashlib.sha256(b"weights" * 1000).hexdigest()
    assert FileRecord.of(path) == FileRecord("w.caffemodel", digest)


def test_a_file_that_is_not_there_cannot_be_recorded(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        FileRecord.of(tmp_path / "none")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_picture_without_recipe_says_where_was_looked(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    write_picture(path, PIXELS)
    with pytest.raises(FileError, match="carries no recipe"):
        read_recipe(path)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_missing_picture_has_no_recipe(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        read_recipe(tmp_path / f"out.{suffix}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": 99}',
        '{"format": 1, "surprise": 1}',
        '{"format": 1, "files": {"content": {"nom": "x"}}}',
        '{"format": 1, "files": 3}',
        "[" * 100_000,
    ],
)
def test_a_damaged_recipe_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "out.jpg"
    path.write_bytes(b"")
    recipe_path(path).write_text(text)
    with pytest.raises(FileError, match="recipe is damaged") as caught:
        read_recipe(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_png_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    write_picture(path, PIXELS, recipe=RECIPE)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(FileError) as caught:
        read_recipe(path)
    assert "\n" not in str(caught.value)
