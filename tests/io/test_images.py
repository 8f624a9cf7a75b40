"""Every kind of picture file that people have, made here, one by one."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nst.errors import ImageError
from nst.io.image_modes import to_rgb_and_alpha
from nst.io.images import Picture, as_array, read_picture

ORIENTATION = 0x0112
CORNERS = np.array(
    [
        [[250, 0, 0], [0, 250, 0], [9, 9, 9]],
        [[0, 0, 250], [250, 250, 0], [80, 80, 80]],
    ],
    np.uint8,
)  # no two turned or mirrored versions of it are alike


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG written by hand, for the kinds that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), *(chunk(entry[:4], entry[4:]) for entry in extra)]
    chunks += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_an_rgb_picture_comes_back_value_for_value(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(CORNERS).save(path)
    picture = read_picture(path)
    assert np.array_equal(picture.rgb, CORNERS)
    assert picture.rgb.dtype == np.float32
    assert picture.alpha is None
    assert (picture.mode, picture.size, picture.notes) == ("RGB", (3, 2), ())


def test_the_hash_is_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(CORNERS).save(path)
    assert read_picture(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


# What has to be done to the stored pixels for them to stand upright (EXIF 2.3, tag 274).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_picture_is_turned_once_as_its_exif_says(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(CORNERS).save(path, exif=exif, lossless=True)
    assert np.array_equal(read_picture(path).rgb, UPRIGHT[orientation](CORNERS))


def test_damaged_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(CORNERS).save(path, exif=b"Exif\0\0garbage!")
    picture = read_picture(path)
    assert np.array_equal(picture.rgb, CORNERS)
    assert "EXIF is damaged" in picture.notes[0]


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_and_palette_become_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert(mode).save(path)
    assert np.array_equal(read_picture(path).rgb[:, :, 0], [[0, 255], [255, 0]])


@pytest.mark.parametrize("colour", [(255.0, 255.0, 255.0), (0.0, 100.0, 200.0)])
def test_transparency_is_composited_over_the_background_and_kept(
    tmp_path: Path, colour: tuple[float, float, float]
) -> None:
    path = tmp_path / "a.png"
    pixels = np.array([[[50, 60, 70, 255], [50, 60, 70, 51], [1, 2, 3, 0]]], np.uint8)
    Image.fromarray(pixels).save(path)
    picture = read_picture(path, background=colour)
    mixed = [0.2 * value + 0.8 * under for value, under in zip((50, 60, 70), colour, strict=True)]
    np.testing.assert_allclose(picture.rgb[0], [[50, 60, 70], mixed, colour], rtol=1e-6)
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[255, 51, 0]]


def test_grey_with_alpha_is_composited(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.array([[[100, 255], [100, 0]]], np.uint8), "LA").save(path)
    picture = read_picture(path)
    assert picture.rgb[0].tolist() == [[100] * 3, [255] * 3]


def test_alpha_that_hides_nothing_is_no_alpha(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.full((2, 2, 4), 255, np.uint8)).save(path)
    assert read_picture(path).alpha is None


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_a_transparent_palette_entry_becomes_alpha(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(path, transparency=0)
    picture = read_picture(path)
    assert picture.rgb[0].tolist() == [[255] * 3, [200, 100, 50]]
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[0, 255]]


@pytest.mark.parametrize(("mode", "colour"), [("L", 10), ("RGB", (10, 20, 30))])
def test_a_transparent_colour_becomes_alpha(tmp_path: Path, mode: str, colour: object) -> None:
    path = tmp_path / "a.png"
    image = Image.new(mode, (2, 1))
    image.putpixel((1, 0), colour)  # type: ignore[arg-type]
    image.save(path, transparency=colour)
    alpha = read_picture(path).alpha
    assert alpha is not None
    assert alpha.tolist() == [[255, 0]]


def test_16_bit_grey_keeps_its_fractions(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    values = np.array([[0, 257, 300, 65535]], np.uint16)
    Image.fromarray(values).save(path)
    np.testing.assert_allclose(read_picture(path).rgb[:, :, 1], values / 257, rtol=1e-6)


def test_16_bit_grey_tiff_is_not_cut_to_white(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    values = np.array([[0, 1000, 40000, 65535]], np.uint16)
    Image.fromarray(values).save(path)
    np.testing.assert_allclose(read_picture(path).rgb[:, :, 2], values / 257, rtol=1e-6)


def test_16_bit_grey_honours_its_transparent_value(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    rows = b"\0" + struct.pack(">2H", 256, 257)
    path.write_bytes(png(2, 1, 16, 0, rows, b"tRNS" + struct.pack(">H", 257)))
    alpha = read_picture(path).alpha
    assert alpha is not None
    assert alpha.tolist() == [[255, 0]]


@pytest.mark.parametrize(
    ("colour", "values", "expected"),
    [
        (2, (0x12FF, 0x80FF, 0xC0FF), [0x12, 0x80, 0xC0]),
        (4, (0x12FF, 0xFFFF), [0x12, 0x12, 0x12]),
        (6, (0x12FF, 0x80FF, 0xC0FF, 0xFFFF), [0x12, 0x80, 0xC0]),
    ],
)
def test_16_bit_colour_is_read_by_its_upper_bytes_and_says_so(
    tmp_path: Path, colour: int, values: tuple[int, ...], expected: list[int]
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(1, 1, 16, colour, b"\0" + struct.pack(f">{len(values)}H", *values)))
    picture = read_picture(path)
    assert picture.rgb[0, 0].tolist() == expected
    assert picture.notes == ("16 bits per channel: the upper 8 are used",)


def test_16_bit_colour_in_a_tiff_says_so_too(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    path.write_bytes(tiff_with_one_16_bit_pixel(0x12FF, 0x80FF, 0xC0FF))
    picture = read_picture(path)
    assert picture.rgb[0, 0].tolist() == [0x12, 0x80, 0xC0]
    assert picture.notes == ("16 bits per channel: the upper 8 are used",)


def tiff_with_one_16_bit_pixel(*values: int) -> bytes:
    """An RGB TIFF by hand (TIFF 6.0): header, one directory of shorts and longs, bits, pixel."""
    data = 8 + 2 + 10 * 12 + 4
    entries = [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 3, data), (259, 3, 1, 1), (262, 3, 1, 2)]
    entries += [
        (273, 4, 1, data + 6),
        (277, 3, 1, 3),
        (278, 3, 1, 1),
        (279, 4, 1, 6),
        (284, 3, 1, 1),
    ]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    return (
        head + directory + bytes(4) + struct.pack("<3H", 16, 16, 16) + struct.pack("<3H", *values)
    )


def test_16_bit_colour_honours_its_transparent_colour(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    rows = b"\0" + struct.pack(">6H", 0x1000, 0x2000, 0x3000, 0x1100, 0x2000, 0x3000)
    key = b"tRNS" + struct.pack(">3H", 0x1000, 0x2000, 0x3000)
    path.write_bytes(png(2, 1, 16, 2, rows, key))
    alpha = read_picture(path).alpha
    assert alpha is not None
    assert alpha.tolist() == [[0, 255]]


@pytest.mark.parametrize(("white", "word"), [(1.0, "1"), (200.0, "255")])
def test_float_grey_is_read_by_the_white_it_implies(
    tmp_path: Path, white: float, word: str
) -> None:
    path = tmp_path / "a.tiff"
    Image.fromarray(np.array([[0, white / 2, white]], np.float32)).save(path)
    picture = read_picture(path)
    top = 255 if white == 1 else white
    np.testing.assert_allclose(picture.rgb[0, :, 0], [0, top / 2, top])
    assert picture.notes == (f"float grey: {word} is taken for white",)


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "not finite"), (-1.0, "out of range"), (1e6, "out of range")]
)
def test_float_grey_without_meaning_is_refused(tmp_path: Path, value: float, message: str) -> None:
    path = tmp_path / "a.tiff"
    Image.fromarray(np.array([[0, value]], np.float32)).save(path)
    with pytest.raises(ImageError, match=message):
        read_picture(path)


def test_32_bit_grey_has_no_white(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    Image.fromarray(np.array([[0, 1 << 20]], np.int32)).save(path)
    with pytest.raises(ImageError, match=r"no agreed white.*0 to 1048576"):
        read_picture(path)


def test_cmyk_is_ink_not_rgb_with_a_channel_too_many(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    ink = np.array([[[255, 0, 0, 0], [0, 0, 0, 255], [0, 0, 0, 0]]], np.uint8)
    Image.fromarray(ink, "CMYK").save(path)
    picture = read_picture(path)
    assert picture.rgb[0].tolist() == [[0, 255, 255], [0, 0, 0], [255, 255, 255]]
    assert picture.notes == ("CMYK without a colour profile: converted by the plain formula",)


def test_a_cmyk_jpeg_is_not_inverted(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(path, quality=100)
    np.testing.assert_allclose(read_picture(path).rgb[4, 4], [255, 0, 0], atol=3)


def test_ycbcr_is_converted() -> None:
    image = Image.new("RGB", (2, 2), (200, 30, 60)).convert("YCbCr")
    rgb, alpha = to_rgb_and_alpha(image, [])
    np.testing.assert_allclose(rgb[1, 1], [200, 30, 60], atol=3)
    assert alpha is None


def test_lab_is_converted(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    Image.new("LAB", (2, 2), (255, 128, 128)).save(path)  # a and b are neutral at 128
    np.testing.assert_allclose(read_picture(path).rgb[1, 1], [255, 255, 255], atol=2)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("#ff0000", "#00ff00", "#0000ff")]
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    picture = read_picture(path)
    assert picture.rgb[0, 0].tolist() == [255, 0, 0]
    assert picture.notes == ("the first of 3 frames is used",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>Not found</html>", "a web page"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"layer { name: 'data' }", "a text file"),
        (b"\0\1\2\3\xff\xfe\xfd", "no known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a text file"),
        (b"\x89PNG\r\n\x1a\n", "no picture|no known format|damaged|PNG"),
    ],
)
def test_what_is_no_picture_is_called_what_it_is(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        read_picture(path)
    assert caught.value.path == str(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "bmp"])
def test_a_truncated_picture_is_damaged(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ImageError, match="damaged"):
        read_picture(path)


def test_a_decompression_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(100_000, 100_000, 8, 2, b"\0"))
    with pytest.raises(ImageError, match=r"too large \(expected at most 178,956,970 pixels"):
        read_picture(path)


def test_a_picture_without_width_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    Image.fromarray(CORNERS).save(path)
    data = bytearray(path.read_bytes())
    data[18:22] = struct.pack("<i", 0)
    path.write_bytes(data)
    with pytest.raises(ImageError):
        read_picture(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nowhere\.png: no such file"):
        read_picture(tmp_path / "nowhere.png")


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is a folder"):
        read_picture(tmp_path)


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.png"
    os.mkfifo(path)
    with pytest.raises(ImageError, match="device or pipe"):
        read_picture(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_an_array_is_a_picture_of_its_own(dtype: type[np.generic]) -> None:
    values = CORNERS.astype(dtype)
    picture = Picture.from_array(values)
    values[:] = 0
    assert np.array_equal(picture.rgb, CORNERS)
    assert (picture.size, picture.alpha) == ((3, 2), None)


def test_an_array_of_two_axes_is_grey() -> None:
    assert Picture.from_array(np.array([[7.5]])).rgb.tolist() == [[[7.5, 7.5, 7.5]]]


def test_an_array_with_alpha_is_composited_over_white() -> None:
    picture = Picture.from_array(np.array([[[50, 60, 70, 0], [50, 60, 70, 255]]], np.uint8))
    assert picture.rgb.tolist() == [[[255, 255, 255], [50, 60, 70]]]
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[0, 255]]


def test_an_array_whose_alpha_hides_nothing_has_none() -> None:
    assert Picture.from_array(np.full((2, 2, 4), 255, np.uint8)).alpha is None


@pytest.mark.parametrize(
    "array",
    [np.zeros((3, 4, 4, 1)), np.zeros((4, 4, 2)), np.zeros((0, 4, 3)), np.full((2, 2), np.nan)],
)
def test_an_array_that_is_no_picture_is_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match="array: not a picture"):
        Picture.from_array(array)


def _samples() -> list[bytes]:
    noise = np.random.default_rng(3).integers(0, 256, (9, 7, 3), np.uint8)
    image = Image.fromarray(noise)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return [
        _encoded(image, "PNG", exif=exif, pnginfo=None),
        _encoded(image, "JPEG", exif=exif),
        _encoded(image, "TIFF", compression="tiff_lzw"),
        _encoded(image, "TIFF"),
        _encoded(image, "WEBP"),
        _encoded(image, "GIF"),
        _encoded(image, "BMP"),
        _encoded(image, "PPM"),
        _encoded(image, "TGA"),
    ]


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.sampled_from(_samples()),
    damage=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 400),
)
def test_a_fuzzed_file_gives_a_picture_or_an_image_error(
    tmp_path: Path, data: bytes, damage: list[tuple[int, int]], cut: int
) -> None:
    path = tmp_path / "fuzzed"
    fuzzed = bytearray(data[: len(data) - cut] or data)
    for position, value in damage:
        fuzzed[position % len(fuzzed)] = value
    path.write_bytes(fuzzed)
    with contextlib.suppress(ImageError):
        assert read_picture(path).rgb.ndim == 3


@pytest.mark.parametrize("mode", ["P", "L", "1", "CMYK", "YCbCr", "I;16", "LA", "RGBA"])
def test_an_open_pillow_picture_is_what_its_file_would_be(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(CORNERS).convert("L")
    image = grey.convert(mode) if mode == "I;16" else Image.fromarray(CORNERS).convert(mode)
    path = tmp_path / "a.tif"
    image.save(path)

    taken = Picture.from_array(as_array(image))

    np.testing.assert_array_equal(taken.rgb, read_picture(path).rgb)


def test_an_open_pillow_picture_is_turned_and_left_alone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(CORNERS).save(tmp_path / "a.png", exif=exif)
    image = Image.open(tmp_path / "a.png")

    turned = as_array(image)

    assert turned.shape == (3, 2, 3)
    assert image.size == (3, 2)


def test_whole_numbers_beyond_255_are_refused_not_overexposed() -> None:
    with pytest.raises(ImageError, match=r"out of range \(got 0 to 65535, expected 0 to 255\)"):
        Picture.from_array(np.array([[0, 65535]], np.uint16))


@pytest.mark.parametrize("values", [io.BytesIO(b"x"), ["a.png", 2.0], [[1], [1, 2]]])
def test_what_holds_no_numbers_is_no_picture(values: object) -> None:
    with pytest.raises(ImageError, match=r"array: not a picture .* holds no numbers"):
        Picture.from_array(values)  # type: ignore[arg-type]
