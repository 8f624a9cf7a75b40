from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO

import pytest

from nst.errors import FileError
from nst.io.atomic import write_atomically


def fail_after_some_bytes(file: IO[bytes]) -> None:
    file.write(b"half")
    raise ValueError("no more")


def test_bytes_arrive_whole(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.bin", b"\x00\xffdata")
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\xffdata"


def test_a_function_writes_to_the_open_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.bin", lambda file: file.write(b"abc"))
    assert (tmp_path / "a.bin").read_bytes() == b"abc"


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    write_atomically(tmp_path / "x" / "y" / "a.bin", b"1")
    assert (tmp_path / "x" / "y" / "a.bin").read_bytes() == b"1"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(ValueError, match="no more"):
        write_atomically(target, fail_after_some_bytes)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_folder_in_the_way_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "a.bin").mkdir()
    with pytest.raises(FileError, match="cannot be written"):
        write_atomically(tmp_path / "a.bin", b"1")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_file_in_place_of_a_folder_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(FileError, match="cannot be written"):
        write_atomically(tmp_path / "x" / "a.bin", b"1")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    target.chmod(0o640)
    write_atomically(target, b"new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_new_file_gets_the_mode_of_a_plain_open(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_atomically(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode
