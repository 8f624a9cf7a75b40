"""A run that is interrupted and resumed is the run that was not, bit for bit; anything else is refused."""

from __future__ import annotations

import dataclasses
import errno
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.style_jobs import ITERATIONS, KINDS, interrupted_job

from nst.backend import Backend, get_backend
from nst.errors import FileError, SnapshotError, UsageError
from nst.style.job import StyleJob
from nst.style.run import Progress, StyleResult, StyleRun
from nst.style.run_snapshot import (
    SnapshotFile,
    read_run_snapshot,
    snapshot_path,
    write_run_snapshot,
)

TESTS = Path(__file__).resolve().parent.parent


def stop_at(iteration: int) -> Callable[[Progress, StyleRun], None]:
    def observe(progress: Progress, run: StyleRun) -> None:
        if progress.done == iteration:
            run.stop()

    return observe


def interrupted(job: StyleJob, iteration: int, path: Path) -> StyleResult:
    """The result of a run that was stopped, with its snapshot in `path`."""
    return StyleRun(job, [stop_at(iteration)], snapshots=SnapshotFile(path)).run()


def losses(result: StyleResult) -> list[float]:
    return [progress.record.loss for progress in result.history]


def assert_same_run(result: StyleResult, expected: StyleResult) -> None:
    np.testing.assert_array_equal(result.pixels, expected.pixels)
    assert losses(result) == losses(expected)
    assert [p.record.loss_terms for p in result.history] == [
        p.record.loss_terms for p in expected.history
    ]
    assert [p.done for p in result.history] == list(range(1, ITERATIONS + 1))


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_resumed_is_the_same_as_never_stopped(
    kind: str, backend: Backend, tmp_path: Path
) -> None:
    job = interrupted_job(kind, backend)
    whole = StyleRun(job).run()

    for iteration in (1, 11, 14, 15, 27):
        path = tmp_path / f"{iteration}.snapshot"
        interrupted(job, iteration, path)
        assert_same_run(StyleRun(job, resume=path).run(), whole)


def test_a_run_may_be_interrupted_again_and_again(tmp_path: Path) -> None:
    job = interrupted_job("projected", get_backend("numpy"))
    whole = StyleRun(job).run()
    path = tmp_path / "run.snapshot"
    interrupted(job, 3, path)

    for iteration in range(6, ITERATIONS, 3):
        StyleRun(job, [stop_at(iteration)], snapshots=SnapshotFile(path), resume=path).run()

    assert_same_run(StyleRun(job, resume=path).run(), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_moment_and_resumed_is_the_same(kind: str, tmp_path: Path) -> None:
    rng = random.Random(f"kill {kind}")
    name = rng.choice(["numpy", "cpu"])
    path = tmp_path / "run.snapshot"

    killed_at = kill_worker(kind, name, path, rng.randint(2, ITERATIONS - 2), rng.random() * 0.02)

    job = interrupted_job(kind, get_backend(name))
    assert read_run_snapshot(path).history[-1].done >= killed_at - 1
    assert_same_run(StyleRun(job, resume=path).run(), StyleRun(job).run())


def kill_worker(kind: str, backend: str, path: Path, iteration: int, delay: float) -> int:
    """Kills a run `delay` seconds after it told `iteration`; returns that."""
    worker = subprocess.Popen(
        [sys.executable, str(TESTS / "style/kill_worker.py"), kind, backend, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(TESTS)])},
    )
    with worker:
        assert worker.stdout is not None
        for line in worker.stdout:
            if int(line) == iteration:
                break
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(delay)
        worker.kill()
    assert worker.returncode == -9
    return iteration


KILLED_WRITING = """
import os, signal, sys
from pathlib import Path
from support.style_jobs import interrupted_job
from nst.backend import get_backend
from nst.io import atomic
from nst.style.run import StyleRun
from nst.style.run_snapshot import SnapshotFile

real, left = os.fsync, int(sys.argv[2])
def fsync(handle):
    global left
    left -= 1
    if not left:
        os.ftruncate(handle, os.fstat(handle).st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)
atomic.os.fsync = fsync
file = SnapshotFile(Path(sys.argv[1]), every=1)
StyleRun(interrupted_job("projected", get_backend("numpy")), snapshots=file).run()
"""


def test_killed_in_the_middle_of_writing_leaves_the_snapshot_before(tmp_path: Path) -> None:
    path = tmp_path / "run.snapshot"
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WRITING, str(path), "17"],
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(TESTS)])},
    )
    assert done.returncode == -9
    assert len(list(tmp_path.iterdir())) == 2  # and half of the next one under another name
    assert read_run_snapshot(path).history[-1].done == 16
    job = interrupted_job("projected", get_backend("numpy"))

    result = StyleRun(job, snapshots=SnapshotFile(path, every=5), resume=path).run()

    assert_same_run(result, StyleRun(job).run())
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.snapshot"]


# ---- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ("style_transfer_param { style_weight: 0.02 }", r"style_weight \(was 0.01, is 0.02\)"),
        ('type: "Adam"', r"type \(was LBFGS, is Adam\)"),
        ("random_seed: 7", r"seed \(was 0, is 7\)"),
        ("style_transfer_param { sizes: [16, 20] iterations: [14, 16] }", None),
        ("style_transfer_param { sizes: [18, 24] iterations: [14, 16] }", "sizes and iterations"),
        ("style_transfer_param { iterations: [2, 9] }", "expected at least the 5 done"),
    ],
)
def test_a_run_with_other_options_does_not_resume(
    extra: str, named: str | None, tmp_path: Path
) -> None:
    backend = get_backend("numpy")
    path = tmp_path / "run.snapshot"
    interrupted(interrupted_job("lbfgs", backend), 5, path)
    other = StyleRun(interrupted_job("lbfgs", backend, extra), resume=path)

    if named is None:  # a size to come may be another one
        assert other.run().pixels.shape == (15, 20, 3)
        return
    with pytest.raises(UsageError, match=named):
        other.run()


@pytest.mark.parametrize("name", ["net", "weights", "content", "styles", "backend"])
def test_other_files_and_backends_are_named_too(name: str, tmp_path: Path) -> None:
    job = interrupted_job("adam", get_backend("numpy"))
    path = tmp_path / "run.snapshot"
    interrupted(job, 5, path)
    net = type(job.net)()
    net.CopyFrom(job.net)
    net.name = "another"
    assert job.content is not None
    brighter = dataclasses.replace(job.content, rgb=job.content.rgb + 1)
    style = dataclasses.replace(job.styles[0], picture=brighter)
    changed = {
        "net": net,
        "weights": {**job.weights, "conv1_1": [a + 1 for a in job.weights["conv1_1"]]},
        "content": brighter,
        "styles": (style,),
        "backend": get_backend("cpu"),
    }[name]

    with pytest.raises(UsageError, match=f"what differs: {name}"):
        StyleRun(dataclasses.replace(job, **{name: changed}), resume=path).run()


def test_more_iterations_may_be_asked_for(tmp_path: Path) -> None:
    backend = get_backend("numpy")
    path = tmp_path / "run.snapshot"
    longer = interrupted_job("lbfgs", backend, "style_transfer_param { iterations: [14, 30] }")
    interrupted(interrupted_job("lbfgs", backend), 29, path)

    resumed = StyleRun(longer, resume=path).run()

    np.testing.assert_array_equal(resumed.pixels, StyleRun(longer).run().pixels)


@pytest.mark.parametrize(
    ("kind", "extra", "named"),
    [
        ("averaged", "", "the last are averaged: they are in part over"),
        ("adam", 'lr_policy: "poly" power: 1', "iterations, on which lr_policy poly depends"),
    ],
)
def test_more_iterations_are_refused_where_they_would_have_changed_the_past(
    kind: str, extra: str, named: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.snapshot"
    backend = get_backend("numpy")
    interrupted(interrupted_job(kind, backend, extra), 28, path)
    more = "style_transfer_param { iterations: [14, 17] }"

    with pytest.raises(UsageError, match=named):
        StyleRun(interrupted_job(kind, backend, f"{extra} {more}"), resume=path).run()


def test_an_average_that_has_begun_survives_other_sizes_to_come(tmp_path: Path) -> None:
    path = tmp_path / "run.snapshot"
    backend = get_backend("numpy")
    other = interrupted_job(
        "averaged", backend, "style_transfer_param { sizes: [16, 20] iterations: [14, 4] }"
    )
    interrupted(interrupted_job("averaged", backend), 12, path)

    resumed = StyleRun(other, resume=path).run()

    np.testing.assert_array_equal(resumed.pixels, StyleRun(other).run().pixels)


def test_every_damaged_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "run.snapshot"
    interrupted(interrupted_job("adam", get_backend("numpy")), 3, path)
    whole = path.read_bytes()
    rng = random.Random(5)
    steps = range(0, len(whole), len(whole) // 150)

    for start in [*steps, len(whole) - 1, len(whole) - 40]:
        damaged = bytearray(whole)
        position = min(start + rng.randrange(50), len(whole) - 1)
        damaged[position] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(SnapshotError) as caught:
            read_run_snapshot(path)
        assert "\n" not in str(caught.value)
        path.write_bytes(whole[:position])
        with pytest.raises(SnapshotError, match="cut short"):
            read_run_snapshot(path)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + b"x" * 100, b"\0" * 5000])
def test_what_is_no_snapshot_is_told_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(content)

    with pytest.raises(SnapshotError, match=r"picture.png: cut short, or no snapshot") as caught:
        read_run_snapshot(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(SnapshotError, match="cannot be read"):
        read_run_snapshot(tmp_path / "missing")


# ---- disks that are full, folders that are closed -------------------------------------------------------


def test_a_full_disk_at_any_moment_leaves_the_last_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nst.io import atomic

    job = interrupted_job("adam", get_backend("numpy"))
    path = tmp_path / "run.snapshot"
    interrupted(job, 5, path)
    old = path.read_bytes()
    newer = read_run_snapshot(path)
    whole_open = os.fdopen
    writes = 0

    class Filling:
        """A file that takes `left` writes."""

        def __init__(self, file: object, left: int) -> None:
            self.file, self.left = file, left

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

        def __enter__(self) -> Filling:
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()  # type: ignore[attr-defined]

        def write(self, data: bytes) -> int:
            nonlocal writes
            writes += 1
            if self.left == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.left -= 1
            return int(self.file.write(data))  # type: ignore[attr-defined]

    def full_after(count: int) -> None:
        monkeypatch.setattr(atomic.os, "fdopen", lambda *a: Filling(whole_open(*a), count))

    full_after(-1)
    write_run_snapshot(tmp_path / "counted", newer)
    total, writes = writes, 0
    assert total > 20
    for count in range(total):
        full_after(count)
        with pytest.raises(FileError, match="No space left"):
            write_run_snapshot(path, newer)
        assert path.read_bytes() == old
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["counted", "run.snapshot"]


def test_a_run_goes_on_when_its_snapshot_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from nst.style import run_snapshot

    def refuse(path: Path, snapshot: object) -> None:
        raise FileError("cannot be written (No space left on device)", path=str(path))

    monkeypatch.setattr(run_snapshot, "write_run_snapshot", refuse)
    job = interrupted_job("adam", get_backend("numpy"))
    snapshots = SnapshotFile(tmp_path / "run.snapshot", every=7)

    result = StyleRun(job, snapshots=snapshots).run()

    np.testing.assert_array_equal(result.pixels, StyleRun(job).run().pixels)
    assert "No space left" in snapshots.problem
    assert "the run goes on" in caplog.text


LIMITED = """
import resource, signal, sys
from pathlib import Path
from support.style_jobs import interrupted_job
from nst.backend import get_backend
from nst.style.run import StyleRun
from nst.style.run_snapshot import SnapshotFile

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
file = SnapshotFile(Path(sys.argv[1]), every=10)
def limit(progress, run):
    if progress.done == 15:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
result = StyleRun(interrupted_job("adam", get_backend("numpy")), [limit], snapshots=file).run()
print(len(result.history), file.problem)
"""


def test_a_real_limit_on_file_sizes_costs_the_snapshot_and_not_the_run(tmp_path: Path) -> None:
    path = tmp_path / "run.snapshot"

    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(TESTS)])},
    )

    assert done.stdout.startswith("30 ")
    assert "File too large" in done.stdout
    assert read_run_snapshot(path).history[-1].done == 10
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.snapshot"]


# ---- how often ----------------------------------------------------------------------------


def test_snapshots_come_every_so_many_iterations_over_all_sizes(tmp_path: Path) -> None:
    path = tmp_path / "run.snapshot"
    seen: list[int] = []

    class Counting(SnapshotFile):
        def write(self, snapshot: object) -> None:
            super().write(snapshot)  # type: ignore[arg-type]
            seen.append(read_run_snapshot(path).history[-1].done)

    StyleRun(interrupted_job("adam", get_backend("numpy")), snapshots=Counting(path, every=8)).run()

    assert seen == [8, 16, 24]


def test_without_an_interval_time_decides() -> None:
    patient = SnapshotFile(Path("unused"), seconds=1e9)
    hasty = SnapshotFile(Path("unused"), seconds=1e-9)
    never = SnapshotFile(Path("unused"), seconds=0)

    assert [file.is_due(5) for file in (patient, hasty, never)] == [False, True, False]


def test_the_snapshot_lies_beside_the_output_and_can_be_discarded(tmp_path: Path) -> None:
    path = snapshot_path(tmp_path / "out.png")
    interrupted(interrupted_job("adam", get_backend("numpy")), 2, path)
    assert path == tmp_path / "out.snapshot"

    SnapshotFile(path).discard()
    SnapshotFile(path).discard()

    assert not path.exists()
