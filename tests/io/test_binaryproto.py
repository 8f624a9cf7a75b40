from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nst.errors import FileError
from nst.io.binaryproto import read_binaryproto, write_binaryproto
from nst.proto import BlobProto

CAFFE_WROTE = Path(__file__).resolve().parents[1] / "data" / "weights" / "blob.binaryproto"


def test_a_blob_of_the_real_caffe_reads_as_by_protobuf() -> None:
    message = BlobProto.FromString(CAFFE_WROTE.read_bytes())
    array = read_binaryproto(CAFFE_WROTE)
    assert list(array.shape) == list(message.shape.dim)
    np.testing.assert_array_equal(array.ravel(), message.data)


def test_what_we_write_reads_by_protobuf(tmp_path: Path, rng: np.random.Generator) -> None:
    array = rng.normal(size=(1, 3, 2, 4)).astype("f4")
    write_binaryproto(tmp_path / "mean.binaryproto", array)
    message = BlobProto.FromString((tmp_path / "mean.binaryproto").read_bytes())
    assert list(message.shape.dim) == [1, 3, 2, 4]
    np.testing.assert_array_equal(message.data, array.ravel())
    np.testing.assert_array_equal(read_binaryproto(tmp_path / "mean.binaryproto"), array)


def test_a_legacy_mean_picture_reads_with_four_axes(tmp_path: Path) -> None:
    blob = BlobProto(num=1, channels=3, height=1, width=2, data=range(6))
    (tmp_path / "mean.binaryproto").write_bytes(blob.SerializeToString())
    assert read_binaryproto(tmp_path / "mean.binaryproto").shape == (1, 3, 1, 2)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"a text", "a text file"),
        (b"\x89PNG\r\n", "a PNG picture"),
        (BlobProto(num=1, data=[1, 2]).SerializeToString(), "something else"),
        (BlobProto(data=[1]).SerializeToString(), "it holds no array"),
    ],
)
def test_other_files_are_told_by_what_they_look_like(
    tmp_path: Path, data: bytes, words: str
) -> None:
    (tmp_path / "mean.binaryproto").write_bytes(data)
    with pytest.raises(FileError) as caught:
        read_binaryproto(tmp_path / "mean.binaryproto")
    assert words in str(caught.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        read_binaryproto(tmp_path)
