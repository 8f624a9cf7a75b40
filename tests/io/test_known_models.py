"""The table of models, and where weights are looked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nst.errors import FileError, WeightsError
from nst.io import known_models as module
from nst.io.known_models import cache_folder, find_model, find_weights, known_models, locate_models

ENTRY = {
    "description": "a net",
    "file": "TINY.caffemodel",
    "url": "https://example.org/TINY.caffemodel",
    "bytes": 574_671_192,
    "md5": "B5C644BEABD7CF06BDD9065CFD674C97",
    "sha256": None,
    "license": "CC BY 4.0",
    "mean": [104, 117, 123],
    "net": "net.prototxt",
}


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models with one entry, an empty cache, and an empty working folder."""
    folder = tmp_path / "models"
    (folder / "tiny").mkdir(parents=True)
    write_table(folder, {"tiny": ENTRY})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(module, "locate_models", lambda: folder)
    monkeypatch.setenv("NST_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder


def write_table(folder: Path, table: object) -> None:
    (folder / "known.json").write_text(json.dumps(table))


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    return path


def test_an_entry_is_read_with_its_checksums_in_lower_case(models: Path) -> None:
    model = known_models(models)["tiny"]
    assert model.digests == {"md5": "b5c644beabd7cf06bdd9065cfd674c97"}
    assert model.urls == ("https://example.org/TINY.caffemodel",)
    assert model.bytes == 574_671_192
    assert model.folder == models / "tiny"


def test_the_pictures_of_a_model_have_its_mean(models: Path) -> None:
    transform = known_models(models)["tiny"].transform
    assert (transform.mean, transform.color_order) == ((104, 117, 123), "BGR")


def test_several_addresses_keep_their_order(models: Path) -> None:
    write_table(models, {"tiny": {**ENTRY, "url": ["https://a.org", "https://b.org"]}})
    assert known_models(models)["tiny"].urls == ("https://a.org", "https://b.org")


@pytest.mark.parametrize(
    "table",
    [
        [],
        {"tiny": {}},
        {"tiny": {**ENTRY, "bytes": "many"}},
        {"tiny": {**ENTRY, "bytes": 0}},
        {"tiny": {**ENTRY, "mean": [1, 2]}},
        {"tiny": {**ENTRY, "file": "../../escape"}},
        {"../escape": ENTRY},
        {"tiny": 3},
    ],
)
def test_a_damaged_table_is_named(models: Path, table: object) -> None:
    write_table(models, table)
    with pytest.raises(FileError, match=r"known\.json: not a table of models"):
        known_models(models)


def test_shipped_weights_need_no_size(models: Path) -> None:
    write_table(models, {"tiny": {**ENTRY, "url": None, "bytes": 0}})
    assert known_models(models)["tiny"].urls == ()


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"known\.json: cannot be read"):
        known_models(tmp_path)


def test_an_unknown_model_gets_the_nearest_known(models: Path) -> None:
    with pytest.raises(WeightsError, match=r"'tiney' \(known: tiny\)\. Did you mean 'tiny'\?"):
        find_model("tiney")


def test_the_cache_can_be_chosen(models: Path, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"


def test_without_a_choice_the_cache_is_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NST_CACHE", raising=False)
    assert "nst" in cache_folder().parts


def test_a_path_is_taken_relative_to_the_file_that_names_it(models: Path, tmp_path: Path) -> None:
    weights = put(tmp_path / "job" / "w" / "a.caffemodel")
    assert find_weights("w/a.caffemodel", tmp_path / "job" / "solver.prototxt") == weights


def test_a_path_may_be_relative_to_a_folder(models: Path, tmp_path: Path) -> None:
    weights = put(tmp_path / "job" / "a.caffemodel")
    assert find_weights("a.caffemodel", tmp_path / "job") == weights


def test_a_path_may_be_relative_to_the_working_folder(models: Path, tmp_path: Path) -> None:
    put(tmp_path / "elsewhere" / "a.caffemodel")
    assert find_weights("a.caffemodel", tmp_path / "job.prototxt") == Path("a.caffemodel")


@pytest.mark.parametrize("name", ["tiny", "TINY.caffemodel"])
@pytest.mark.parametrize("place", ["job", "models/tiny", "cache/tiny"])
def test_a_known_model_is_found_beside_shipped_or_cached(
    models: Path, tmp_path: Path, name: str, place: str
) -> None:
    weights = put(tmp_path / place / "TINY.caffemodel")
    assert find_weights(name, tmp_path / "job" / "solver.prototxt") == weights


def test_what_lies_beside_the_file_goes_first(models: Path, tmp_path: Path) -> None:
    beside = put(tmp_path / "job" / "TINY.caffemodel")
    put(tmp_path / "cache" / "tiny" / "TINY.caffemodel")
    assert find_weights("tiny", tmp_path / "job" / "solver.prototxt") == beside


def test_a_folder_of_the_models_name_is_not_its_weights(models: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "tiny").mkdir()
    with pytest.raises(WeightsError, match="not on this machine"):
        find_weights("tiny", tmp_path)


def test_missing_weights_of_a_known_model_give_the_command(models: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"`nst weights fetch tiny` \(575 MB\)"):
        find_weights("tiny", tmp_path)


@pytest.mark.parametrize("name", ["x" * 5000, "~nobody-of-this-name/w.caffemodel", "a\0b", ""])
def test_a_name_that_no_file_can_have_is_a_plain_error(
    models: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(WeightsError, match="no such file of weights"):
        find_weights(name, tmp_path)


def test_an_unknown_name_lists_the_known(models: Path, tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"tinny: no such file.*known: tiny.*Did you mean 'tiny'"
    ):
        find_weights("tinny", tmp_path)


@pytest.mark.parametrize(
    ("code", "table"),
    [
        ("site-packages/nst/io", "site-packages/nst/models"),
        ("checkout/src/nst/io", "checkout/models"),
    ],
)
def test_models_are_found_beside_the_package_and_in_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, table: str
) -> None:
    folder = tmp_path / table
    folder.mkdir(parents=True)
    monkeypatch.setattr(module, "__file__", str(tmp_path / code / "known_models.py"))
    with pytest.raises(FileError, match="the folder of models is missing"):
        locate_models()
    write_table(folder, {})
    assert locate_models() == folder


def test_the_table_of_this_repository_is_whole() -> None:
    models = known_models()
    assert models["vgg19"].bytes == 574_671_192
    assert models["vgg19"].digests["md5"] == "b5c644beabd7cf06bdd9065cfd674c97"
    for name, model in models.items():
        assert (locate_models() / name / model.net).is_file(), name
        assert model.shipped_file.is_file() or (model.urls and model.digests), name
