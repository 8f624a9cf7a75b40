"""Colour profiles, against sRGB values worked out from the profiles' own definitions."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from nst.io.colour_profile import srgb_profile
from nst.io.images import read_picture


def s15(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(s15, values))


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256)) + b"\0\0"


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A display profile of ICC version 2 from its tags; enough of one for LittleCMS."""
    tags = {b"wtpt": xyz(0.9642, 1, 0.8249), **tags}
    offset = 128 + 4 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for name, body in tags.items():
        table += name + struct.pack(">II", offset + len(data), len(body))
        data += body
    header = struct.pack(
        ">I4sI4s4s4s", offset + len(data), b"lcms", 0x02400000, b"mntr", space, b"XYZ "
    )
    header += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += s15(0.9642) + s15(1) + s15(0.8249)
    return header.ljust(128, b"\0") + table + data


# sRGB's primaries adapted to D50, red and green exchanged: reading by this profile exchanges them back.
RED, GREEN, BLUE = (
    (0.43607, 0.22249, 0.01392),
    (0.38515, 0.71687, 0.09708),
    (0.14307, 0.06061, 0.71410),
)
SWAPPED = profile(
    b"RGB ",
    {
        b"rXYZ": xyz(*GREEN),
        b"gXYZ": xyz(*RED),
        b"bXYZ": xyz(*BLUE),
        **{name: gamma(2.2) for name in (b"rTRC", b"gTRC", b"bTRC")},
    },
)
LINEAR_GREY = profile(b"GRAY", {b"kTRC": gamma(1.0)})


def saved(path: Path, image: Image.Image, icc: bytes) -> Path:
    image.save(path, icc_profile=icc)
    return path


def test_rgb_is_read_by_its_profile(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGB", (2, 2), (255, 0, 0)), SWAPPED)
    picture = read_picture(path)
    np.testing.assert_allclose(picture.rgb[0, 0], [0, 255, 0], atol=3)
    assert picture.notes == ("converted from its colour profile to sRGB",)


def test_alpha_is_kept_out_of_the_conversion(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGBA", (2, 2), (255, 0, 0, 128)), SWAPPED)
    picture = read_picture(path, background=(0, 255, 0))
    assert picture.alpha is not None
    assert set(picture.alpha.ravel()) == {128}
    np.testing.assert_allclose(picture.rgb[0, 0], [0, 255, 0], atol=3)


def test_grey_is_read_by_a_grey_profile(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("L", (2, 2), 128), LINEAR_GREY)
    # Half the light of white, 128 / 255, is 188 in sRGB.
    np.testing.assert_allclose(read_picture(path).rgb[0, 0], [188, 188, 188], atol=1)


def test_grey_may_carry_a_profile_for_rgb(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("L", (2, 2), 128), SWAPPED)
    picture = read_picture(path)
    np.testing.assert_allclose(picture.rgb[0, 0], [128, 128, 128], atol=3)
    assert picture.notes == ("converted from its colour profile to sRGB",)


def test_16_bit_grey_follows_its_profile_between_the_levels_of_8_bits(tmp_path: Path) -> None:
    ramp = np.linspace(32768, 33280, 9).astype(np.uint16)[np.newaxis]
    path = saved(tmp_path / "a.png", Image.fromarray(ramp), LINEAR_GREY)
    values = read_picture(path).rgb[0, :, 0]
    np.testing.assert_allclose(values, 188, atol=2)
    assert 0 < np.diff(values).max() < 0.3


def test_cmyk_is_read_by_its_profile(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tiff", Image.new("CMYK", (2, 2), (0, 0, 0, 255)), cmyk_profile())
    picture = read_picture(path)
    np.testing.assert_allclose(picture.rgb[0, 0], [119, 119, 119], atol=2)
    assert picture.notes == ("converted from its colour profile to sRGB",)


def cmyk_profile() -> bytes:
    """A printer on which every ink prints the same mid grey, L* = 50 (119 in sRGB): no formula does that."""
    clut = bytes([128, 128, 128]) * 16  # L* 50.2, a and b neutral, at the 2^4 corners
    identity = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + b"".join(map(s15, (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    table += identity * 4 + clut + identity * 3
    made = profile(b"CMYK", {b"A2B0": table, b"A2B1": table})
    return made[:12] + b"prtr" + made[16:20] + b"Lab " + made[24:]


def test_our_own_profile_changes_no_value(tmp_path: Path) -> None:
    values = np.random.default_rng(4).integers(0, 256, (16, 16, 3), np.uint8)
    path = saved(tmp_path / "a.png", Image.fromarray(values), srgb_profile())
    picture = read_picture(path)
    assert np.array_equal(picture.rgb, values)
    assert picture.notes == ()


def test_another_srgb_profile_changes_hardly_any(tmp_path: Path) -> None:
    values = np.random.default_rng(5).integers(0, 256, (16, 16, 3), np.uint8)
    other = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = saved(tmp_path / "a.png", Image.fromarray(values), other)
    np.testing.assert_allclose(read_picture(path).rgb, values, atol=1)


def test_our_profile_is_a_valid_one_with_a_fixed_date() -> None:
    made = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
    assert "sRGB" in ImageCms.getProfileDescription(made)
    assert srgb_profile()[24:36] == struct.pack(">6H", 2000, 1, 1, 0, 0, 0)


@pytest.mark.parametrize(
    ("icc", "reason"),
    [
        (b"not a profile at all", "cannot open profile"),
        (LINEAR_GREY, "for GRAY, the picture is RGB"),
    ],
)
def test_a_profile_that_cannot_be_used_is_passed_over_and_said_so(
    tmp_path: Path, icc: bytes, reason: str
) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGB", (2, 2), (10, 20, 30)), icc)
    picture = read_picture(path)
    assert picture.rgb[0, 0].tolist() == [10, 20, 30]
    assert len(picture.notes) == 1
    assert reason in picture.notes[0]
