"""Frames in and animations out, against Pillow's own reading and writing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nst.errors import FileError, ImageError
from nst.io.animation import write_animation
from nst.io.frames import open_frames


def still(value: int, size: tuple[int, int] = (8, 6)) -> Image.Image:
    return Image.new("RGB", size, (value, 100, 200))


class TestFolders:
    def test_numbers_in_names_count_as_numbers(self, tmp_path: Path) -> None:
        for number in (10, 9, 1, 100):
            still(number).save(tmp_path / f"frame{number}.png")
        (tmp_path / "notes.txt").write_text("no picture")

        frames = open_frames(tmp_path)

        assert [frames.read(i).rgb[0, 0, 0] for i in range(len(frames))] == [1, 9, 10, 100]
        assert frames.shape == (6, 8)
        assert frames.durations_ms is None

    def test_a_pattern_picks_some(self, tmp_path: Path) -> None:
        for number in range(4):
            still(number).save(tmp_path / f"{'ab'[number % 2]}{number}.png")

        assert len(open_frames(str(tmp_path / "a*.png"))) == 2

    def test_a_frame_of_another_size_is_named(self, tmp_path: Path) -> None:
        still(1).save(tmp_path / "1.png")
        still(2, (9, 6)).save(tmp_path / "2.png")

        with pytest.raises(ImageError, match=r"2\.png.*got 9x6, expected 8x6"):
            open_frames(tmp_path)

    def test_pictures_lying_on_their_side_have_the_size_they_are_shown_with(
        self, tmp_path: Path
    ) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        for number in (1, 2):
            still(number).save(tmp_path / f"{number}.jpg", exif=exif)

        frames = open_frames(tmp_path)

        assert frames.shape == (8, 6)
        assert frames.read(0).rgb.shape == (8, 6, 3)

    @pytest.mark.parametrize("count", [0, 1])
    def test_less_than_two_frames_are_none(self, count: int, tmp_path: Path) -> None:
        for number in range(count):
            still(number).save(tmp_path / f"{number}.png")

        with pytest.raises(FileError, match=f"got {count} pictures.*ffmpeg"):
            open_frames(tmp_path)

    def test_a_frame_that_is_no_picture_is_named(self, tmp_path: Path) -> None:
        still(1).save(tmp_path / "1.png")
        (tmp_path / "2.png").write_text("text")

        with pytest.raises(ImageError, match=r"2\.png"):
            open_frames(tmp_path)


class TestAnimations:
    @pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
    def test_frames_and_durations_of_pillow_are_read(self, suffix: str, tmp_path: Path) -> None:
        pictures = [still(value) for value in (10, 120, 240)]
        path = tmp_path / f"a.{suffix}"
        options = {"lossless": True} if suffix == "webp" else {}
        pictures[0].save(
            path, save_all=True, append_images=pictures[1:], duration=[40, 80, 120], **options
        )

        frames = open_frames(path)

        assert frames.durations_ms == (40, 80, 120)
        for index in (0, 2, 1):  # also backwards
            np.testing.assert_array_equal(frames.read(index).rgb, np.asarray(pictures[index]))

    def test_the_still_of_an_apng_is_no_frame(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        still(7).save(path, save_all=True, append_images=[still(50), still(60)], default_image=True)

        frames = open_frames(path)

        assert [frames.read(i).rgb[0, 0, 0] for i in range(len(frames))] == [50, 60]

    def test_transparency_is_laid_over_white(self, tmp_path: Path) -> None:
        path = tmp_path / "a.webp"
        clear = [Image.new("RGBA", (4, 4), (v, 0, 0, 0)) for v in (10, 200)]
        clear[1].putpixel((0, 0), (1, 2, 3, 255))
        clear[0].save(path, save_all=True, append_images=clear[1:], lossless=True, duration=50)

        picture = open_frames(path).read(1)

        assert picture.alpha is None
        assert picture.rgb[3, 3].tolist() == [255, 255, 255]
        assert picture.rgb[0, 0].tolist() == [1, 2, 3]

    def test_one_picture_is_no_animation(self, tmp_path: Path) -> None:
        still(1).save(tmp_path / "a.png")

        with pytest.raises(ImageError, match=r"a\.png.*one picture and no animation"):
            open_frames(tmp_path / "a.png")


class TestWriting:
    @pytest.fixture
    def pictures(self, rng: np.random.Generator) -> list[np.ndarray]:
        first = rng.integers(0, 255, (12, 10, 3)).astype(np.uint8)
        second = first.copy()
        second[:4] = rng.integers(0, 255, (4, 10, 3))
        return [first, second, first[::-1].copy()]

    @pytest.mark.parametrize("suffix", ["webp", "apng"])
    def test_pictures_come_back_as_they_were(
        self, suffix: str, pictures: list[np.ndarray], tmp_path: Path
    ) -> None:
        path = tmp_path / f"a.{suffix}"

        write_animation(path, lambda i: pictures[i], [40, 70, 200], quality=100)

        frames = open_frames(path)
        assert frames.durations_ms == (40, 70, 200)
        for index, picture in enumerate(pictures):
            np.testing.assert_array_equal(frames.read(index).rgb, picture)

    def test_what_stands_still_in_a_gif_keeps_its_colours(
        self, pictures: list[np.ndarray], tmp_path: Path
    ) -> None:
        write_animation(tmp_path / "a.gif", lambda i: pictures[i], [40, 40, 40])

        frames = open_frames(tmp_path / "a.gif")
        np.testing.assert_array_equal(frames.read(0).rgb[4:], frames.read(1).rgb[4:])
        assert np.abs(frames.read(0).rgb - pictures[0]).mean() < 25  # 256 of 252 random colours

    def test_odd_durations_of_a_gif_do_not_add_up_an_error(
        self, rng: np.random.Generator, tmp_path: Path
    ) -> None:
        pictures = rng.integers(0, 255, (30, 4, 5, 3)).astype(np.uint8)

        write_animation(tmp_path / "a.gif", lambda i: pictures[i], [1000 / 30] * 30)

        durations = open_frames(tmp_path / "a.gif").durations_ms
        assert durations is not None
        assert len(durations) == 30
        assert set(durations) == {30, 40}
        assert sum(durations) == 1000

    def test_other_formats_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match=r"got suffix '\.mp4', expected one of \.gif"):
            write_animation(tmp_path / "a.mp4", lambda i: np.zeros((2, 2, 3), np.uint8), [1])

    def test_a_failure_leaves_what_was_there(
        self, pictures: list[np.ndarray], tmp_path: Path
    ) -> None:
        path = tmp_path / "a.gif"
        path.write_bytes(b"before")

        def read(index: int) -> np.ndarray:
            if index == 2:
                raise ImageError("gone")
            return pictures[index]

        with pytest.raises(ImageError, match="gone"):
            write_animation(path, read, [40, 40, 40])

        assert [p.name for p in tmp_path.iterdir()] == ["a.gif"]
        assert path.read_bytes() == b"before"
