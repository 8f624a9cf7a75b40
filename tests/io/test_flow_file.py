"""Flow files: bytes laid out by hand, round trips, and what is no flow."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from nst.errors import FileError, UsageError
from nst.io.flow_file import read_flow, write_flow


def test_the_layout_of_middlebury_is_read(tmp_path: Path) -> None:
    values = [1.5, -2.0, 0.0, 4.25, 1e10, 1e10]
    path = tmp_path / "a.flo"
    path.write_bytes(b"PIEH" + struct.pack("<ii6f", 3, 1, *values))

    flow = read_flow(path)

    assert flow.shape == (1, 3, 2)
    np.testing.assert_array_equal(flow[0, :2], [[1.5, -2.0], [0.0, 4.25]])
    assert np.isnan(flow[0, 2]).all()


@pytest.mark.parametrize("suffix", [".flo", ".npy"])
def test_a_flow_comes_back_bit_for_bit(
    suffix: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    flow = rng.normal(0, 20, (5, 7, 2)).astype(np.float32)
    flow[2, 3] = np.nan

    write_flow(tmp_path / f"f{suffix}", flow)

    np.testing.assert_array_equal(read_flow(tmp_path / f"f{suffix}"), flow)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.flo", b"", "tag"),
        ("a.flo", b"JPEG" + bytes(40), "tag"),
        ("a.flo", b"PIEH" + struct.pack("<ii", 2, 2) + bytes(31), "cut short or too long"),
        ("a.flo", b"PIEH" + struct.pack("<ii", -2, 2) + bytes(32), "impossible size"),
        ("a.flo", b"PIEH" + struct.pack("<ii", 1 << 20, 2), "impossible size"),
        ("a.npy", b"\x93NUMPY", "damaged"),
        ("a.png", b"", "no format of flow"),
    ],
)
def test_what_is_no_flow_is_told(name: str, data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)

    with pytest.raises(FileError, match=words) as caught:
        read_flow(tmp_path / name)

    assert name in str(caught.value)


def test_arrays_of_another_kind_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 4), np.float32))
    np.save(tmp_path / "b.npy", np.array([{"x": 1}]), allow_pickle=True)

    with pytest.raises(FileError, match=r"expected floats \(height, width, 2\)"):
        read_flow(tmp_path / "a.npy")
    with pytest.raises(FileError, match="damaged"):
        read_flow(tmp_path / "b.npy")
    with pytest.raises(UsageError, match=r"got shape \(3, 4\)"):
        write_flow(tmp_path / "c.flo", np.zeros((3, 4), np.float32))
    with pytest.raises(FileError, match="cannot be read"):
        read_flow(tmp_path / "missing.flo")
