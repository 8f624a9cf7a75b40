"""Two runs on one output: the second is told who is there; a lock dies with its holder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nst.errors import FileError
from nst.io.output_lock import lock_path, output_held

HOLDER = """
import sys, time
from pathlib import Path
from nst.io.output_lock import output_held
with output_held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder_of(output: Path) -> subprocess.Popen[str]:
    """A process that holds the output."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(output)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_run_is_told_who_holds_the_output(tmp_path: Path) -> None:
    output = tmp_path / "out.png"
    with holder_of(output) as process:
        with (
            pytest.raises(
                FileError, match=f"out.png: another run writes it .process {process.pid}"
            ),
            output_held(output),
        ):
            pass
        process.kill()


def test_a_killed_holder_leaves_the_output_free(tmp_path: Path) -> None:
    output = tmp_path / "out.png"
    with holder_of(output) as process:
        process.kill()

    with output_held(output):
        assert str(os.getpid()) in lock_path(output).read_text()


def test_the_lock_file_goes_when_the_run_is_over(tmp_path: Path) -> None:
    for _ in range(2):
        with output_held(tmp_path / "new" / "out.png"):
            pass

    assert list((tmp_path / "new").iterdir()) == []


def test_other_outputs_in_the_folder_are_free(tmp_path: Path) -> None:
    with output_held(tmp_path / "a.png"), output_held(tmp_path / "b.png"):
        assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with (
        pytest.raises(FileError, match="cannot be written"),
        output_held(tmp_path / "file" / "out.png"),
    ):
        pass
