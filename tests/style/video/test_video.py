"""Frames one after the other: steady where nothing moves, free where something new comes in, never lost."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from support.style_jobs import SETTINGS
from support.tiny import picture, tiny_net, tiny_weights

from nst.backend import get_backend
from nst.errors import Diverged, FileError, ImageError, UsageError
from nst.io.blob_proto import attach_blobs
from nst.io.flow_file import write_flow
from nst.io.frames import open_frames
from nst.io.images import Picture, read_picture
from nst.io.output_lock import output_held
from nst.io.picture_output import write_picture
from nst.io.prototxt import format_message, parse_solver
from nst.io.recipe import Recipe
from nst.io.resample import resize
from nst.proto import SolverParameter
from nst.style.batch import FINGERPRINT, FINISHED, SKIPPED, STOPPED
from nst.style.job import StyleJob
from nst.style.preparation import start_picture
from nst.style.run import Progress, StyleResult, StyleRun, run_job
from nst.style.statistics_store import MemoryStore
from nst.style.temporal import TemporalTarget
from nst.style.video import FrameJobs, Video, choose_motion
from nst.style.video.frame_jobs import repainted

HEIGHT, WIDTH, STEP = 24, 32, 2
COUNT = 4


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A pan of four frames with its exact flow, a style, and the tiny net with weights."""
    scene = picture(HEIGHT, WIDTH + STEP * COUNT, 3)
    for number in range(COUNT):
        left = STEP * number
        write_picture(tmp_path / "pan" / f"{number + 1}.png", scene[:, left : left + WIDTH])
        write_picture(tmp_path / "still" / f"{number + 1}.png", scene[:, :WIDTH])
        for back in range(1, number + 1):
            write_shift(tmp_path / "flow", number + 1, number + 1 - back, -STEP * back)
    write_picture(tmp_path / "style.png", picture(30, 20, 10))
    (tmp_path / "net.prototxt").write_text(format_message(tiny_net()))
    full = attach_blobs(tiny_net(), tiny_weights())
    (tmp_path / "w.caffemodel").write_bytes(full.SerializeToString())
    return tmp_path


def write_shift(folder: Path, later: int, earlier: int, left: float) -> None:
    """What was seen now lay `-left` pixels further to the right."""
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    flow[..., 0] = -left
    write_flow(folder / f"backward_{later}_{earlier}.flo", flow)
    write_flow(folder / f"forward_{earlier}_{later}.flo", -flow)


def settings(home: Path, extra: str = "") -> SolverParameter:
    result = parse_solver(SETTINGS)
    result.net = str(home / "net.prototxt")
    result.weights.append(str(home / "w.caffemodel"))
    style = result.style_transfer_param
    style.sizes[:], style.iterations[:] = [24, 32], [6, 6]
    style.style[0].image = str(home / "style.png")
    style.video.frames = str(home / "pan")
    style.video.flow_files = str(home / "flow")
    style.video.iterations = 5
    style.video.temporal_weight = 2
    result.MergeFrom(parse_solver(extra))
    return result


def jobs(home: Path, extra: str = "", *, output: str = "out", frames: str = "pan") -> FrameJobs:
    chosen = settings(home, extra)
    source = open_frames(home / frames)
    motion = choose_motion(chosen.style_transfer_param.video)
    return FrameJobs(chosen, get_backend("numpy"), source, motion, home / output)


def save(job: StyleJob, result: StyleResult, output: Path, fingerprint: str) -> None:
    write_picture(output, result.pixels, recipe=Recipe(results={FINGERPRINT: fingerprint}))


def painted(folder: Path) -> list[np.ndarray]:
    return [read_picture(path).rgb for path in sorted(folder.glob("frame_*.png"))]


def paint(home: Path, extra: str = "", **where: str) -> list[np.ndarray]:
    sequence = jobs(home, extra, **where)
    Video(sequence, save).run()
    return painted(sequence.folder)


def flicker(frames: list[np.ndarray], step: int) -> float:
    """Mean change, from frame to frame, of what moves `step` pixels and stays in sight."""
    pairs = zip(frames[1:], frames, strict=False)
    return float(
        np.mean([np.abs(new[:, : WIDTH - step] - old[:, step:]).mean() for new, old in pairs])
    )


def still(weight: float) -> str:
    return f"style_transfer_param {{ video {{ flow_files: '' flow: NONE temporal_weight: {weight} }} }}"


def test_the_first_frame_is_a_run_of_its_own(home: Path) -> None:
    sequence = jobs(home)

    frames = paint(home)

    np.testing.assert_array_equal(frames[0], run_job(sequence.job(0)).image)
    assert [frame.shape for frame in frames] == [(HEIGHT, WIDTH, 3)] * COUNT


def test_what_stands_still_stays_the_same(home: Path) -> None:
    frames = paint(home, still(1e4), frames="still")

    change = max(np.abs(frame - frames[0]).max() for frame in frames)
    assert change <= 2  # of 255 levels; the bytes between frames cost half a level each
    free = paint(home, still(0), frames="still", output="free")
    assert np.abs(free[-1] - free[0]).max() > 5 * change


def test_frames_flicker_less_than_when_painted_by_themselves(home: Path) -> None:
    sequence = jobs(home)
    alone = []
    for index in range(COUNT):
        content = sequence.frame(index).picture
        alone.append(run_job(dataclasses.replace(sequence.first, content=content)).image)

    together, firm = (
        paint(home, f"style_transfer_param {{ video {{ temporal_weight: {w} }} }}", output=str(w))
        for w in (2, 50)
    )

    apart = flicker([frame.astype(np.float32) for frame in alone], STEP)
    assert flicker(together, STEP) < 0.5 * apart
    assert flicker(firm, STEP) < 0.5 * flicker(together, STEP)


def test_a_later_frame_starts_from_the_one_before_where_it_shows_it(home: Path) -> None:
    frames = paint(home)
    sequence = jobs(home)

    job = sequence.job(2)

    assert job.start is not None
    np.testing.assert_array_equal(job.start.rgb[:, :-STEP], frames[1][:, STEP:])
    # What comes in: the content, its colours mapped as they were mapped in what stays.
    content = sequence.frame(2).picture.rgb
    seen = np.c_[content[:, :-STEP].reshape(-1, 3), np.ones(HEIGHT * (WIDTH - STEP))]
    affine = np.linalg.pinv(seen) @ frames[1][:, STEP:].reshape(-1, 3)
    expected = np.c_[content[:, -STEP:].reshape(-1, 3), np.ones(HEIGHT * STEP)] @ affine
    new = job.start.rgb[:, -STEP:].reshape(-1, 3)
    np.testing.assert_allclose(new, expected.clip(0, 255), atol=0.01)
    assert [(stage.size, stage.iterations) for stage in job.stages] == [(24, 5), (32, 5)]


def test_places_that_come_in_sight_are_not_held(home: Path) -> None:
    paint(home)
    job = jobs(home).job(1)
    (term,) = job.temporal
    assert term.weights[:, :-STEP].all()
    assert not term.weights[:, -STEP:].any()
    job = dataclasses.replace(job, stages=job.stages[-1:])  # coarser pixels lie on both sides
    changed = term.warped.copy()
    changed[:, -STEP:] = 255 - changed[:, -STEP:]
    other = dataclasses.replace(job, temporal=(dataclasses.replace(term, warped=changed),))

    np.testing.assert_array_equal(run_job(job).pixels, run_job(other).pixels)


def test_held_places_come_to_the_next_size_as_sharp_as_they_were(home: Path) -> None:
    paint(home)
    job = jobs(home).job(1)
    (term,) = job.temporal
    coarse = picture(18, 24, 7)

    start = start_picture(job, (HEIGHT, WIDTH), coarse)

    np.testing.assert_allclose(start[:, :-STEP], term.warped[:, :-STEP], atol=1e-3)
    larger = resize(coarse, (HEIGHT, WIDTH), method="bicubic", limits=None)
    np.testing.assert_array_equal(start[:, -STEP:], larger[:, -STEP:])


def test_places_are_held_the_more_firmly_the_longer_they_are_in_sight(home: Path) -> None:
    paint(home)

    weights = jobs(home).job(3).temporal[0].weights

    by_column = np.repeat([1, 1, 1, 0.5, 0.25, 0], [8, 8, WIDTH - 16 - 3 * STEP, STEP, STEP, STEP])
    np.testing.assert_allclose(weights, np.tile(by_column, (HEIGHT, 1)), atol=1e-6)


def test_long_terms_hold_what_no_nearer_frame_shows(home: Path) -> None:
    # Frame 3 saw nothing of what frame 2 shows at its left: something stood before it.
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    flow[..., 0] = STEP
    flow[:, :6] = np.nan
    write_flow(home / "flow" / "backward_3_2.flo", flow)
    paint(home)

    near, far = jobs(home, "style_transfer_param { video { distances: [2, 1] } }").job(2).temporal

    assert (near.distance, far.distance) == (1, 2)
    assert not near.weights[:, :6].any()
    assert far.weights[:, :5].all()
    assert (near.weights * far.weights).max() == 0
    assert {"input_warped_2", "input_weights_2", "loss_temporal_2"} <= _layers(home)


def _layers(home: Path) -> set[str]:
    run = StyleRun(jobs(home, "style_transfer_param { video { distances: [1, 2] } }").job(2))
    run.run()
    assert run.painter is not None
    return {layer.name for layer in run.painter.net.layers}


@pytest.mark.parametrize(
    ("form", "share"),
    [
        ("MEAN", lambda d, w: (d**2).mean()),
        ("HALF_SUM", lambda d, w: (d**2).sum() / 2),
        ("RELATIVE", lambda d, w: (d**2).sum() / ((w - 128) ** 2).sum()),
    ],
)
def test_the_term_has_the_form_of_the_content_loss(form: str, share, home: Path) -> None:  # type: ignore[no-untyped-def]
    later = jobs(home, f"style_transfer_param {{ content_loss: {form} }}").later
    warped = picture(HEIGHT, WIDTH, 9)
    term = TemporalTarget(1, warped, np.ones((HEIGHT, WIDTH), np.float32))
    start = Picture.from_array(picture(HEIGHT, WIDTH, 8))
    run = StyleRun(dataclasses.replace(later, start=start, temporal=(term,)))

    result = run.run()

    assert run.painter is not None
    found = result.history[-1].record.loss_terms["loss_temporal_1"]
    assert found == pytest.approx(2 * share(run.painter.picture() - warped, warped), rel=1e-3)


class TestNeverLost:
    @pytest.mark.parametrize("stop", [3, 12, 15, 19, 26])
    def test_stopped_and_started_again_is_the_same_as_never_stopped(
        self, stop: int, home: Path
    ) -> None:
        whole = paint(home, output="whole")
        video = Video(jobs(home), save)

        def observe(progress: Progress, run: StyleRun) -> None:
            if progress.done == stop:
                video.stop()

        video.observers = [observe]
        states = [outcome.state for outcome in video.run()]
        assert states[-1] == STOPPED
        assert len(painted(home / "out")) < COUNT

        again = [outcome.state for outcome in Video(jobs(home), save).run()]

        assert again.count(SKIPPED) == states.count(FINISHED)
        for one, other in zip(whole, painted(home / "out"), strict=True):
            np.testing.assert_array_equal(one, other)
        assert not list((home / "out").glob("*.snapshot"))

    def test_only_what_is_missing_is_painted_again(self, home: Path) -> None:
        before = paint(home)
        path = jobs(home).output(1)
        path.unlink()

        states = [outcome.state for outcome in Video(jobs(home), save).run()]

        assert states == [SKIPPED, FINISHED, SKIPPED, SKIPPED]
        np.testing.assert_array_equal(painted(home / "out")[1], before[1])

    def test_a_change_is_painted_from_there_on(self, home: Path) -> None:
        paint(home)
        dimmed = read_picture(home / "pan" / "3.png").rgb * 0.9
        write_picture(home / "pan" / "3.png", dimmed)

        states = [outcome.state for outcome in Video(jobs(home), save).run()]

        assert states == [SKIPPED, SKIPPED, FINISHED, FINISHED]
        other = jobs(home, "style_transfer_param { style_weight: 0.02 }")
        assert other.fingerprint(0) != jobs(home).fingerprint(0)

    def test_a_flow_that_changed_counts_too(self, home: Path) -> None:
        paint(home)
        write_shift(home / "flow", 4, 3, -1)

        states = [outcome.state for outcome in Video(jobs(home), save).run()]

        assert states == [SKIPPED, SKIPPED, SKIPPED, FINISHED]

    def test_a_folder_is_painted_by_one_run(self, home: Path) -> None:
        with output_held(home / "out" / "frames"), pytest.raises(FileError, match="another run"):
            Video(jobs(home), save).run()

    def test_a_frame_before_of_another_size_is_refused(self, home: Path) -> None:
        paint(home)
        sequence = jobs(home)
        write_picture(sequence.output(0), picture(5, 6, 1))

        with pytest.raises(ImageError, match=r"frame_0001\.png.*got 6x5, expected 32x24"):
            sequence.job(1)

    def test_a_frame_that_diverges_ends_the_sequence(self, home: Path) -> None:
        wild = "type: 'SGD' base_lr: 1e30"

        with pytest.raises(Diverged):
            Video(jobs(home, wild), save).run()

        assert painted(home / "out") == []


def test_statistics_of_the_style_are_computed_once(home: Path) -> None:
    store = MemoryStore()

    Video(jobs(home), save, store=store).run()

    assert store.computed == 2  # at two sizes, and not once per frame


def test_progress_counts_over_all_frames(home: Path) -> None:
    seen: list[Progress] = []
    video = Video(jobs(home), save, [lambda progress, run: seen.append(progress)])

    video.run()

    assert [progress.done for progress in seen] == list(range(1, 43))
    assert {progress.total for progress in seen} == {12 + 3 * 10}
    times = [progress.elapsed_s for progress in seen]
    assert times == sorted(times)


def test_colours_are_kept_after_the_painting_and_not_painted_from(home: Path) -> None:
    extra = "style_transfer_param { color: KEEP_YCC }"

    frames = paint(home, extra)

    sequence = jobs(home, extra)
    inside = read_picture(home / "out" / "painted" / "frame_0002.png").rgb
    assert np.abs(inside - frames[1]).mean() > 1
    start = sequence.job(2).start
    assert start is not None
    np.testing.assert_array_equal(start.rgb[:, :-STEP], inside[:, STEP:])
    sequence.painted(1).unlink()
    assert Video(jobs(home, extra), save).run()[1].state == FINISHED


def test_a_frame_of_which_nothing_is_known_starts_from_its_content() -> None:
    content, painting = picture(8, 9, 1), picture(8, 9, 2)
    weights = np.zeros((8, 9), np.float32)
    weights[0, :3] = 1

    np.testing.assert_array_equal(repainted(content, painting, weights), content)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("distances: [1, 1]", r"distances must be different .* 1 among them \(got \[1, 1\]\)"),
        ("distances: 0", "distances"),
        ("distances: [2, 4]", "with 1 among them"),
        ("iterations: 0", "iterations of later frames"),
        ("fps: 0", "fps out of range"),
        ("temporal_weight: nan", "temporal_weight must be >= 0"),
    ],
)
def test_settings_that_do_not_hold_together_are_refused(block: str, words: str, home: Path) -> None:
    with pytest.raises(UsageError, match=words):
        jobs(home, f"style_transfer_param {{ video {{ {block} }} }}")
