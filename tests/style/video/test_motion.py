"""Where motion comes from: files by the names of artistic-videos, OpenCV, or nowhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.tiny import picture

from nst.errors import FileError, ShapeError, UsageError
from nst.io.flow_file import write_flow
from nst.io.images import Picture
from nst.io.picture_output import write_picture
from nst.proto import VideoParameter
from nst.style.video import motion as motion_module
from nst.style.video.motion import (
    EstimatedMotion,
    Frame,
    MotionFiles,
    MotionSource,
    NoMotion,
    choose_motion,
)

SHAPE = (24, 32)


def frame(index: int, values: np.ndarray) -> Frame:
    return Frame(index, Picture.from_array(values))


def moving(index: int, step: int = 3) -> Frame:
    """A window that moves over one large picture by whole pixels per frame."""
    scene = picture(64, 128, 5)
    return frame(index, scene[10:58, 10 + step * index : 74 + step * index])


def constant(u: float, v: float, shape: tuple[int, int]) -> np.ndarray:
    return np.broadcast_to(np.float32([u, v]), (*shape, 2)).copy()


def write_shift(folder: Path, down: float) -> None:
    write_flow(folder / "backward_2_1.flo", constant(0, down, SHAPE))
    write_flow(folder / "forward_1_2.flo", constant(0, -down, SHAPE))


class TestFiles:
    def test_vectors_are_those_of_the_painting(self, tmp_path: Path) -> None:
        write_flow(tmp_path / "backward_3_1.flo", constant(4, 2, SHAPE))
        write_flow(tmp_path / "forward_1_3.npy", constant(-4, -2, SHAPE))
        pictures = np.zeros((*SHAPE, 3))

        found = MotionFiles(tmp_path).between(frame(2, pictures), frame(0, pictures), (12, 16))

        np.testing.assert_allclose(found.backward, constant(2, 1, (12, 16)))
        assert found.weights[:-1, :-2].all()
        assert not found.weights[-1].any()
        assert not found.weights[:, -2:].any()

    def test_given_weights_stand_in_for_the_check(self, tmp_path: Path) -> None:
        write_flow(tmp_path / "backward_2_1.flo", constant(0, 0, SHAPE))
        weights = np.zeros((*SHAPE, 3))
        weights[:12] = 255
        weights[12:] = 51
        write_picture(tmp_path / "reliable_2_1.png", weights)
        pictures = np.zeros((*SHAPE, 3))

        found = MotionFiles(tmp_path).between(frame(1, pictures), frame(0, pictures), SHAPE)

        np.testing.assert_allclose(found.weights, weights[..., 0] / 255)

    def test_what_is_missing_or_of_another_size_is_named(self, tmp_path: Path) -> None:
        pictures = frame(1, np.zeros((*SHAPE, 3))), frame(0, np.zeros((*SHAPE, 3)))
        files = MotionFiles(tmp_path)
        with pytest.raises(FileError, match=r"expected backward_2_1\.flo or backward_2_1\.npy"):
            files.between(*pictures, SHAPE)
        write_flow(tmp_path / "backward_2_1.flo", constant(0, 0, SHAPE))
        with pytest.raises(FileError, match=r"expected forward_1_2\.flo"):
            files.between(*pictures, SHAPE)
        write_flow(tmp_path / "backward_2_1.flo", constant(0, 0, (3, 4)))
        with pytest.raises(ShapeError, match="got 4x3, expected 32x24"):
            files.between(*pictures, SHAPE)
        with pytest.raises(FileError, match="no such folder"):
            MotionFiles(tmp_path / "nowhere")

    def test_the_key_follows_what_the_files_hold(self, tmp_path: Path) -> None:
        write_shift(tmp_path, 0)
        before = MotionFiles(tmp_path).key(1, 0)
        assert before == MotionFiles(tmp_path).key(1, 0)

        write_shift(tmp_path, 1)

        assert MotionFiles(tmp_path).key(1, 0) != before


class TestEstimate:
    @pytest.fixture
    def source(self) -> MotionSource:
        pytest.importorskip("cv2", reason="OpenCV is not installed: pip install 'nst-caffe[flow]'")
        return EstimatedMotion()

    def test_a_pan_is_found(self, source: MotionSource) -> None:
        found = source.between(moving(1), moving(0), (48, 64))

        inside = found.backward[6:-6, 6:-8]
        assert np.abs(inside - [3, 0]).mean() < 0.15
        assert found.weights[6:-6, 6:-8].mean() > 0.95
        assert not found.weights[:, -2:].any()

    def test_the_same_frames_give_the_same_bits(self, source: MotionSource) -> None:
        first = source.between(moving(1), moving(0), (48, 64))
        other = EstimatedMotion().between(moving(1), moving(0), (48, 64))

        np.testing.assert_array_equal(first.backward, other.backward)
        np.testing.assert_array_equal(first.weights, other.weights)


def test_without_flow_what_changes_is_free() -> None:
    old = np.full((*SHAPE, 3), 100.0)
    new = old.copy()
    new[:5, :, 1] += 40
    new[5:9, :, 2] += 9

    found = NoMotion().between(frame(1, new), frame(0, old), SHAPE)

    assert not found.backward.any()
    assert not found.weights[:5].any()
    assert found.weights[5:].all()


class TestChoice:
    def test_files_that_are_named_are_taken(self, tmp_path: Path) -> None:
        assert isinstance(choose_motion(VideoParameter(flow_files=str(tmp_path))), MotionFiles)

    def test_without_opencv_nothing_is_estimated_unless_asked(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(__import__("sys").modules, "cv2", None)
        monkeypatch.setattr(motion_module, "has_opencv", lambda: False)

        assert isinstance(choose_motion(VideoParameter()), NoMotion)
        with pytest.raises(UsageError, match=r"needs OpenCV.*nst-caffe\[flow\]"):
            choose_motion(VideoParameter(flow=VideoParameter.ESTIMATE))

    def test_files_and_another_source_are_refused(self) -> None:
        with pytest.raises(UsageError, match="none needs no files"):
            choose_motion(VideoParameter(flow=VideoParameter.NONE, flow_files="f"))
