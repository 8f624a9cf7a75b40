"""Many pictures: one failure stays alone, nothing is done twice, and each is what it would be by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support.style_jobs import SETTINGS
from support.tiny import picture, tiny_net, tiny_weights

from nst.backend import get_backend
from nst.errors import FileError, UsageError
from nst.io.images import read_picture
from nst.io.output_lock import output_held
from nst.io.picture_output import write_picture
from nst.io.prototxt import parse_solver
from nst.io.recipe import Recipe
from nst.io.style_library import StyleLibrary
from nst.proto import SolverParameter
from nst.style import batch as batch_module
from nst.style.batch import (
    FAILED,
    FINGERPRINT,
    FINISHED,
    SKIPPED,
    STOPPED,
    Batch,
    BatchOutcome,
    run_fingerprint,
)
from nst.style.batch_list import BatchRow, read_batch
from nst.style.job import StyleJob
from nst.style.run import Progress, StyleResult, StyleRun, run_job
from nst.style.statistics_store import MemoryStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three contents, two styles, one file that is no picture, and the tiny net with weights."""
    from nst.io.blob_proto import attach_blobs
    from nst.io.prototxt import format_message

    for number in range(3):
        write_picture(tmp_path / "photos" / f"c{number}.png", picture(36, 48, number))
    for number in range(2):
        write_picture(tmp_path / "styles" / f"s{number}.png", picture(30, 20, 10 + number))
    (tmp_path / "net.prototxt").write_text(format_message(tiny_net()))
    full = attach_blobs(tiny_net(), tiny_weights())
    (tmp_path / "w.caffemodel").write_bytes(full.SerializeToString())
    return tmp_path


def settings(folder: Path) -> SolverParameter:
    result = parse_solver(SETTINGS)
    result.net = str(folder / "net.prototxt")
    result.weights.append(str(folder / "w.caffemodel"))
    result.style_transfer_param.iterations[:] = [3, 2]
    result.max_iter = 4
    return result


def save(job: StyleJob, result: StyleResult, output: Path) -> None:
    write_picture(output, result.pixels, recipe=Recipe(results={FINGERPRINT: run_fingerprint(job)}))


def batch(home: Path, **changes: object) -> Batch:
    options = {"folder": home / "out", "save": save, **changes}
    return Batch(settings(home), get_backend("numpy"), **options)  # type: ignore[arg-type]


def states(outcomes: Sequence[BatchOutcome]) -> list[str]:
    return [outcome.state for outcome in outcomes]


def pairs(folder: Path) -> list[BatchRow]:
    return read_batch(str(folder / "photos"), [str(folder / "styles")])


def test_every_pair_is_what_a_run_of_its_own_paints(folder: Path) -> None:
    outcomes = batch(folder).run(pairs(folder))

    assert states(outcomes) == [FINISHED] * 6
    names = sorted(path.name for path in (folder / "out").iterdir())
    assert names == [f"c{c}_s{s}.png" for c in range(3) for s in range(2)]
    alone = batch(folder)
    row = pairs(folder)[3]
    job = alone._load(alone._settings_of(row, folder / "x.png"))
    np.testing.assert_array_equal(
        read_picture(outcomes[3].output).rgb, run_job(job).image.astype(np.float32)
    )


def test_the_model_is_read_once_and_style_statistics_are_computed_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nst.style import job as job_module

    reads: list[object] = []
    original = job_module.read_weights
    monkeypatch.setattr(
        job_module, "read_weights", lambda *args: reads.append(args) or original(*args)
    )
    store = MemoryStore()

    outcomes = batch(folder, store=store).run(pairs(folder))

    assert states(outcomes) == [FINISHED] * 6
    assert len(reads) == 1
    assert store.computed == 2 * 2  # two styles at two sizes, not once per content


def test_a_picture_that_fails_does_not_stop_the_rest(folder: Path) -> None:
    (folder / "photos" / "c1.png").write_bytes(b"no picture at all")
    style = [str(folder / "styles" / "s0.png")]

    outcomes = batch(folder).run(read_batch(str(folder / "photos"), style))

    assert states(outcomes) == [FINISHED, FAILED, FINISHED]
    assert "c1.png" in outcomes[1].message
    assert not outcomes[1].output.exists()


def test_a_second_start_paints_only_what_is_not_there(folder: Path) -> None:
    first = batch(folder).run(pairs(folder))
    first[2].output.unlink()
    times = [outcome.output.stat().st_mtime_ns for outcome in first[:2]]

    second = batch(folder).run(pairs(folder))

    assert states(second) == [SKIPPED, SKIPPED, FINISHED, SKIPPED, SKIPPED, SKIPPED]
    assert [outcome.output.stat().st_mtime_ns for outcome in first[:2]] == times


@pytest.mark.parametrize("change", ["settings", "content", "weights", "a picture without recipe"])
def test_a_picture_of_another_run_is_painted_again(change: str, folder: Path) -> None:
    rows = pairs(folder)[:1]
    output = batch(folder).run(rows)[0].output
    again = batch(folder)
    if change == "settings":
        again.settings.style_transfer_param.style_weight = 0.5
    elif change == "content":
        write_picture(folder / "photos" / "c0.png", picture(36, 48, 99))
    elif change == "weights":
        from nst.io.blob_proto import attach_blobs

        full = attach_blobs(tiny_net(), tiny_weights(seed=3))
        (folder / "w.caffemodel").write_bytes(full.SerializeToString())
    else:
        write_picture(output, picture(12, 16, 1))

    assert states(again.run(rows)) == [FINISHED]


def test_a_stopped_batch_goes_on_where_it_was(folder: Path) -> None:
    whole = batch(folder, folder=folder / "whole").run(pairs(folder)[:2])

    def stop(progress: Progress, run: StyleRun) -> None:
        if progress.done == 4:
            stopped.stop()

    stopped = batch(folder, observers=[stop])
    first = stopped.run(pairs(folder)[:2])
    seen: list[int] = []
    resumed = batch(folder, observers=[lambda progress, run: seen.append(progress.done)])
    second = resumed.run(pairs(folder)[:2])

    assert states(first) == [STOPPED]
    assert states(second) == [FINISHED, FINISHED]
    assert seen == [5, 1, 2, 3, 4, 5]
    for one, other in zip(whole, second, strict=True):
        np.testing.assert_array_equal(read_picture(one.output).rgb, read_picture(other.output).rgb)
    assert list((folder / "out").glob("*.snapshot")) == []


def test_an_output_that_another_run_holds_is_left_to_it(folder: Path) -> None:
    rows = pairs(folder)[:2]
    with output_held(folder / "out" / "c0_s0.png"):
        outcomes = batch(folder).run(rows)

    assert states(outcomes) == [FAILED, FINISHED]
    assert "another run writes it" in outcomes[0].message


def test_a_picture_that_does_not_fit_into_memory_fails_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fitted(job: StyleJob) -> StyleJob:
        if job.content is not None and job.content.path.name == "c0.png":
            raise UsageError("memory: the run would not fit")
        return job

    monkeypatch.setattr(batch_module, "fitted", fitted)

    outcomes = batch(folder).run(pairs(folder)[1:3])

    assert states(outcomes) == [FAILED, FINISHED]
    assert "would not fit" in outcomes[0].message


def test_a_history_cut_for_want_of_memory_does_not_paint_twice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fitted(job: StyleJob) -> StyleJob:
        settings = SolverParameter()
        settings.CopyFrom(job.settings)
        settings.lbfgs_corrections = 5
        return dataclasses.replace(job, settings=settings)

    monkeypatch.setattr(batch_module, "fitted", fitted)
    rows = pairs(folder)[:1]

    assert states(batch(folder).run(rows)) == [FINISHED]
    assert states(batch(folder).run(rows)) == [SKIPPED]


def test_two_rows_with_one_output_are_refused_before_anything_is_painted(folder: Path) -> None:
    rows = [BatchRow(folder / "a" / "x.png", (), None), BatchRow(folder / "b" / "x.png", (), None)]

    with pytest.raises(UsageError, match="two pictures would be written to"):
        batch(folder).run(rows)


def test_statistics_come_from_the_library_without_a_look_at_the_style(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "styles.h5"
    rows = pairs(folder)[:2]
    first = batch(folder, store=MemoryStore(StyleLibrary(path))).run(rows)
    pictures = [read_picture(outcome.output).rgb for outcome in first]
    store = MemoryStore(StyleLibrary(path))
    monkeypatch.setattr(
        "nst.style.transfer.FeatureNet.capture_style", lambda *args: pytest.fail("computed again")
    )

    second = batch(folder, store=store, folder=folder / "again").run(rows)

    assert states(second) == [FINISHED, FINISHED]
    assert store.computed == 0
    for outcome, expected in zip(second, pictures, strict=True):
        np.testing.assert_array_equal(read_picture(outcome.output).rgb, expected)


def test_other_nets_weights_sizes_and_backends_have_statistics_of_their_own(folder: Path) -> None:
    store = MemoryStore()
    row = pairs(folder)[:1]
    batch(folder, store=store).run(row)
    assert store.computed == 2

    larger = batch(folder, store=store, folder=folder / "larger")
    larger.settings.style_transfer_param.sizes[:] = [16, 28]
    larger.run(row)
    assert store.computed == 3
    other = batch(folder, store=store, folder=folder / "cpu")
    other.backend = get_backend("cpu")
    other.run(row)
    assert store.computed == 5
    lighter = batch(folder, store=store, folder=folder / "lighter")
    lighter.settings.style_transfer_param.style_weight = 3
    lighter.run(row)
    assert store.computed == 5


class TestLists:
    def test_a_csv_file_gives_options_per_row(self, folder: Path) -> None:
        (folder / "list.csv").write_text(
            "content,style,output,style_weight,sizes,type\n"
            "photos/c0.png,styles/s0.png|styles/s1.png,a.png,0.5,16 20,Adam\n"
            "\n"
            "photos/c1.png,,,,,\n"
        )

        first, second = read_batch(str(folder / "list.csv"))

        assert first.content == folder / "photos/c0.png"
        assert first.styles == (folder / "styles/s0.png", folder / "styles/s1.png")
        assert first.output == folder / "a.png"
        assert first.options.type == "Adam"
        assert first.options.style_transfer_param.style_weight == 0.5
        assert list(first.options.style_transfer_param.sizes) == [16, 20]
        assert second.where.endswith("list.csv:4")
        assert second == BatchRow(folder / "photos/c1.png", (), None, where=second.where)

    def test_options_of_a_row_decide_its_picture(self, folder: Path) -> None:
        (folder / "list.csv").write_text(
            "content,style,sizes,gram_normalize\nphotos/c0.png,styles/s0.png,16 20,chw\n"
        )

        (outcome,) = batch(folder).run(read_batch(str(folder / "list.csv")))

        assert outcome.state == FINISHED, outcome.message
        assert read_picture(outcome.output).rgb.shape == (15, 20, 3)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "empty list"),
            ("contents,style\n", r":1: no such column .*Did you mean 'content'"),
            ("content,style,style\n", "a column is there twice"),
            ("content,style\na,b,c\n", r":2: too many cells"),
            ("content,size\na.png,big\n", r":2: size: .*got 'big'"),
            ("content,pooling\na.png,middle\n", r":2: pooling: "),
        ],
    )
    def test_mistakes_are_named_with_their_line(
        self, text: str, message: str, tmp_path: Path
    ) -> None:
        (tmp_path / "list.csv").write_text(text)

        with pytest.raises((FileError, UsageError), match=message):
            read_batch(str(tmp_path / "list.csv"))

    def test_a_pattern_finds_pictures_only(self, folder: Path) -> None:
        (folder / "photos" / "c9.txt").write_text("no picture")

        rows = read_batch(str(folder / "photos" / "c[129]*"))

        assert [row.content.name for row in rows if row.content] == ["c1.png", "c2.png"]

    def test_nothing_found_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileError, match="no picture there"):
            read_batch(str(tmp_path))
