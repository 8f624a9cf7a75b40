"""Data layers: what they read, in which order, and how it is transformed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import lmdb
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.layer_rig import LayerRig

from nst.backend import Backend
from nst.core import TEST, TRAIN
from nst.errors import FileError, ImageError, NetError, ShapeError
from nst.layers.memory_data import MemoryData
from nst.proto import BlobProto, Datum

Values = NDArray[Any]


# ---- DummyData ------------------------------------------------------------------------------------


def test_constant_dummies_stay_and_random_ones_are_drawn_anew(backend: Backend) -> None:
    rig = LayerRig(
        backend,
        'type: "DummyData" dummy_data_param { shape { dim: 2 dim: 3 } '
        'data_filler { type: "constant" value: 4 } data_filler { type: "uniform" } }',
        tops=2,
    )

    first, second = rig.forward(), rig.forward()

    np.testing.assert_array_equal(first[0], 4)
    np.testing.assert_array_equal(second[0], 4)
    assert (first[1] != second[1]).all()


def test_dummies_take_the_old_four_numbers(backend: Backend) -> None:
    text = 'type: "DummyData" dummy_data_param { num: 2 num: 5 channels: 3 height: 4 width: 1 }'

    shapes = [y.shape for y in LayerRig(backend, text, tops=2).forward()]

    assert shapes == [(2, 3, 4, 1), (5, 3, 4, 1)]


# ---- MemoryData -----------------------------------------------------------------------------------

MEMORY = (
    'type: "MemoryData" memory_data_param { batch_size: 2 channels: 1 height: 2 width: 3 } '
    "transform_param { scale: 0.5 mean_value: 1 }"
)


def memory_rig(backend: Backend) -> tuple[LayerRig, MemoryData]:
    rig = LayerRig(backend, MEMORY, tops=2)
    assert isinstance(rig.layer, MemoryData)
    return rig, rig.layer


def test_memory_goes_round_in_batches(backend: Backend) -> None:
    rig, layer = memory_rig(backend)
    data = np.arange(24.0).reshape(4, 1, 2, 3)
    layer.set_data(data, np.arange(4))

    batches = [rig.forward() for _ in range(3)]

    np.testing.assert_array_equal(batches[1][0], data[2:])
    np.testing.assert_array_equal(batches[1][1], [2, 3])
    np.testing.assert_array_equal(batches[2][0], data[:2])


def test_memory_transforms_pictures_that_are_added(backend: Backend) -> None:
    rig, layer = memory_rig(backend)
    layer.add_pictures([np.full((1, 2, 3), 5, np.uint8)] * 2, [3, 4])

    data, labels = rig.forward()

    np.testing.assert_array_equal(data, 2)
    np.testing.assert_array_equal(labels, [3, 4])


def test_memory_without_data_says_what_to_call(backend: Backend) -> None:
    rig, _ = memory_rig(backend)

    with pytest.raises(NetError, match=r"layer 'layer': .*Call set_data first"):
        rig.forward()


@pytest.mark.parametrize("shape", [(3, 1, 2, 3), (2, 2, 2, 3), (0, 1, 2, 3)])
def test_memory_refuses_arrays_that_do_not_fit(shape: tuple[int, ...], backend: Backend) -> None:
    _, layer = memory_rig(backend)

    with pytest.raises(ShapeError, match="layer 'layer'"):
        layer.set_data(np.zeros(shape), np.zeros(len(shape) and shape[0]))


# ---- HDF5 -----------------------------------------------------------------------------------------


@pytest.fixture
def hdf5_list(tmp_path: Path) -> Path:
    """Two files of 3 and 2 rows; row i of both together holds x = 10 i, y = i."""
    names = []
    for number, rows in enumerate((range(3), range(3, 5))):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as file:
            file["x"] = np.array([[10.0 * i, 0] for i in rows])
            file["y"] = np.array(rows, np.int32)
        names.append(str(path))
    listing = tmp_path / "list.txt"
    listing.write_text("\n".join(names) + "\n")
    return listing


def hdf5_rig(backend: Backend, listing: Path, fields: str = "", tops: str = "x y") -> LayerRig:
    names = " ".join(f'top: "{name}"' for name in tops.split())
    text = (
        f'type: "HDF5Data" {names} hdf5_data_param {{ source: "{listing}" batch_size: 4 {fields} }}'
    )
    return LayerRig(backend, text)


def test_rows_run_across_files_and_round_again(hdf5_list: Path, backend: Backend) -> None:
    rig = hdf5_rig(backend, hdf5_list)

    x, y = rig.forward()
    _, again = rig.forward()

    assert x.shape == (4, 2)
    np.testing.assert_array_equal(x[:, 0], [0, 10, 20, 30])
    np.testing.assert_array_equal([*y, *again], [0, 1, 2, 3, 4, 0, 1, 2])


def test_shuffled_rows_are_all_read_once_per_round(hdf5_list: Path, backend: Backend) -> None:
    rig = hdf5_rig(backend, hdf5_list, "shuffle: true")

    rows = np.concatenate([rig.forward()[1] for _ in range(5)])

    for turn in range(0, 20, 5):
        assert sorted(rows[turn : turn + 5]) == [0, 1, 2, 3, 4]
    assert len({tuple(rows[turn : turn + 5]) for turn in range(0, 20, 5)}) > 1


def test_a_missing_data_set_is_named_with_those_there(hdf5_list: Path, backend: Backend) -> None:
    with pytest.raises(NetError, match=r"layer 'layer': .*no data set 'label' \(got x, y\)"):
        hdf5_rig(backend, hdf5_list, tops="x label")


def test_a_missing_hdf5_file_is_named(tmp_path: Path, backend: Backend) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text("nothing.h5\n")

    with pytest.raises(FileError, match=r"nothing\.h5: layer 'layer': Failed opening HDF5 file"):
        hdf5_rig(backend, listing)


def test_an_empty_list_is_refused(tmp_path: Path, backend: Backend) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text("\n")

    with pytest.raises(NetError, match="is empty"):
        hdf5_rig(backend, listing)


def test_data_sets_of_unequal_length_are_refused(tmp_path: Path, backend: Backend) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = np.zeros((3, 2)), np.zeros(2)
    (tmp_path / "list.txt").write_text(str(tmp_path / "a.h5"))

    with pytest.raises(NetError, match="must have the same number of rows"):
        hdf5_rig(backend, tmp_path / "list.txt")


def test_a_transform_of_hdf5_is_refused(hdf5_list: Path, backend: Backend) -> None:
    text = (
        f'type: "HDF5Data" hdf5_data_param {{ source: "{hdf5_list}" batch_size: 1 }} '
        "transform_param { scale: 2 }"
    )

    with pytest.raises(NetError, match="does not transform data"):
        LayerRig(backend, text)


def test_output_appends_batch_after_batch_to_a_new_file(tmp_path: Path, backend: Backend) -> None:
    path = tmp_path / "out.h5"
    path.write_bytes(b"an old file")
    text = f'type: "HDF5Output" hdf5_output_param {{ file_name: "{path}" }}'
    rig = LayerRig(backend, text, [[[1.0, 2], [3, 4]], [0.0, 1]], tops=0)

    rig.forward()
    rig.forward()

    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["data"], [[1, 2], [3, 4], [1, 2], [3, 4]])
        np.testing.assert_array_equal(file["label"], [0, 1, 0, 1])


def test_output_gives_its_bottoms_a_zero_gradient(tmp_path: Path, backend: Backend) -> None:
    text = f'type: "HDF5Output" hdf5_output_param {{ file_name: "{tmp_path / "out.h5"}" }}'
    rig = LayerRig(backend, text, [[[1.0]], [0.0]], tops=0)

    for dx in rig.backward([]):
        np.testing.assert_array_equal(dx, 0)


def test_output_that_cannot_be_written_is_an_error(tmp_path: Path, backend: Backend) -> None:
    path = tmp_path / "no_folder" / "out.h5"
    text = f'type: "HDF5Output" hdf5_output_param {{ file_name: "{path}" }}'
    rig = LayerRig(backend, text, [[[1.0]], [0.0]], tops=0)

    with pytest.raises(FileError, match="layer 'layer': cannot write HDF5"):
        rig.forward()


# ---- ImageData ------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three 6x4 pictures of one colour each, (10 i, 20 i, 30 i) as RGB, labelled i."""
    lines = []
    for i in range(1, 4):
        Image.new("RGB", (6, 4), (10 * i, 20 * i, 30 * i)).save(tmp_path / f"a picture {i}.png")
        lines.append(f"a picture {i}.png {i}")
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def image_rig(
    backend: Backend, folder: Path, fields: str = "", transform: str = "", phase: int = TEST
) -> LayerRig:
    text = (
        f'type: "ImageData" image_data_param {{ source: "{folder / "list.txt"}" '
        f'root_folder: "{folder}/" {fields} }} transform_param {{ {transform} }}'
    )
    return LayerRig(backend, text, tops=2, phase=phase)


def test_pictures_come_blue_first_with_their_labels(pictures: Path, backend: Backend) -> None:
    data, labels = image_rig(backend, pictures, "batch_size: 2").forward()

    assert data.shape == (2, 3, 4, 6)
    np.testing.assert_array_equal(data[1, :, 0, 0], [60, 40, 20])
    np.testing.assert_array_equal(labels, [1, 2])


def test_pictures_go_round_in_the_order_of_the_list(pictures: Path, backend: Backend) -> None:
    rig = image_rig(backend, pictures, "batch_size: 2")

    labels = np.concatenate([rig.forward()[1] for _ in range(3)])

    np.testing.assert_array_equal(labels, [1, 2, 3, 1, 2, 3])


def test_shuffled_pictures_are_all_read_once_per_epoch(pictures: Path, backend: Backend) -> None:
    rig = image_rig(backend, pictures, "batch_size: 3 shuffle: true")

    epochs = [tuple(rig.forward()[1]) for _ in range(8)]

    assert all(sorted(epoch) == [1, 2, 3] for epoch in epochs)
    assert len(set(epochs)) > 1


def test_grey_and_resized_pictures(pictures: Path, backend: Backend) -> None:
    rig = image_rig(backend, pictures, "is_color: false new_height: 2 new_width: 5")

    (data, _) = rig.forward()

    assert data.shape == (1, 1, 2, 5)
    np.testing.assert_allclose(data, 0.299 * 10 + 0.587 * 20 + 0.114 * 30, atol=1)


def test_mean_and_scale_are_applied_per_channel(pictures: Path, backend: Backend) -> None:
    transform = "mean_value: 1 mean_value: 2 mean_value: 3 scale: 0.5"

    (data, _) = image_rig(backend, pictures, "", transform).forward()

    np.testing.assert_array_equal(data[0, :, 0, 0], [14.5, 9, 3.5])


def test_skipping_starts_inside_the_list(pictures: Path, backend: Backend) -> None:
    labels = {
        float(image_rig(backend, pictures, f"rand_skip: {n}").forward()[1][0]) for n in (1, 2, 3)
    }

    assert labels <= {1, 2, 3}
    assert image_rig(backend, pictures, "rand_skip: 1").forward()[1] == 1


def test_a_picture_that_is_not_there_is_named(tmp_path: Path, backend: Backend) -> None:
    (tmp_path / "list.txt").write_text("gone.png 1\n")

    with pytest.raises(ImageError, match=r"Could not load .*gone\.png"):
        image_rig(backend, tmp_path)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path, backend: Backend) -> None:
    (tmp_path / "list.txt").write_text("list.txt 1\n")

    with pytest.raises(ImageError, match=r"Could not load .*list\.txt"):
        image_rig(backend, tmp_path)


def test_a_line_without_a_label_is_named(tmp_path: Path, backend: Backend) -> None:
    (tmp_path / "list.txt").write_text("a.png 1\nb.png\n")

    with pytest.raises(NetError, match=r"list.txt:2: no picture and label \(got 'b.png'"):
        image_rig(backend, tmp_path)


def test_pictures_of_several_sizes_in_one_batch_are_refused(
    pictures: Path, backend: Backend
) -> None:
    Image.new("RGB", (3, 3)).save(pictures / "a picture 2.png")
    rig = image_rig(backend, pictures, "batch_size: 2")

    with pytest.raises(ShapeError, match="pictures of one batch must have one size"):
        rig.forward()


# ---- the transformation ---------------------------------------------------------------------------


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    """One grey 5x5 picture whose value is 10 * row + column."""
    values = 10 * np.arange(5)[:, None] + np.arange(5)
    Image.fromarray(values.astype(np.uint8), "L").save(tmp_path / "ramp.png")
    (tmp_path / "list.txt").write_text("ramp.png 0\n")
    return tmp_path


GREY = "is_color: false"


def test_testing_crops_the_centre(ramp: Path, backend: Backend) -> None:
    (data, _) = image_rig(backend, ramp, GREY, "crop_size: 3").forward()

    np.testing.assert_array_equal(data[0, 0], [[11, 12, 13], [21, 22, 23], [31, 32, 33]])


def test_training_crops_and_mirrors_at_random(ramp: Path, backend: Backend) -> None:
    rig = image_rig(backend, ramp, GREY, "crop_size: 3 mirror: true", TRAIN)

    crops = [rig.forward()[0][0, 0] for _ in range(200)]

    corners = {(crop.min() // 10, crop.min() % 10) for crop in crops}
    steps = {crop[0, 1] - crop[0, 0] for crop in crops}
    assert corners == {(i, j) for i in range(3) for j in range(3)}
    assert steps == {1, -1}


def test_random_crops_are_the_words_of_a_stream_seeded_by_the_nets(
    ramp: Path, backend: Backend
) -> None:
    """Caffe's order of draws: one seed at construction, one after set-up; row, then column."""
    rig = image_rig(backend, ramp, GREY, "crop_size: 3", TRAIN)
    seeds = np.random.RandomState(1).randint(0, 2**32, 2, np.uint32)
    words = np.random.RandomState(seeds[1]).randint(0, 2**32, 2, np.uint32)

    crop = rig.forward()[0][0, 0]

    assert crop[0, 0] == 10 * (words[0] % 3) + words[1] % 3


def test_a_mean_file_is_cropped_like_the_picture(ramp: Path, backend: Backend) -> None:
    mean = BlobProto(channels=1, height=5, width=5, num=1)
    mean.data.extend((10 * np.arange(5)[:, None] + np.arange(5)).ravel())
    (ramp / "mean.binaryproto").write_bytes(mean.SerializeToString())
    transform = f'crop_size: 3 mirror: true mean_file: "{ramp / "mean.binaryproto"}"'

    (data, _) = image_rig(backend, ramp, GREY, transform, TRAIN).forward()

    np.testing.assert_array_equal(data, 0)


@pytest.mark.parametrize(
    ("transform", "wording"),
    [
        ("crop_size: 6", "crop_size is larger than the picture"),
        ("mean_value: [1, 2]", "Specify either 1 mean_value or as many as channels: 1"),
        ("mean_value: 1 mean_file: 'm'", "Cannot specify mean_file and mean_value"),
        ("force_color: true force_gray: true", "cannot set both"),
    ],
)
def test_a_transformation_that_does_not_fit_is_refused(
    transform: str, wording: str, ramp: Path, backend: Backend
) -> None:
    with pytest.raises(NetError, match=f"layer 'layer': {wording}"):
        image_rig(backend, ramp, GREY, transform)


@pytest.mark.parametrize("content", [b"", b"\xff\xff\xff", b"not a blob"])
def test_a_mean_file_that_is_no_blob_is_refused(
    content: bytes, ramp: Path, backend: Backend
) -> None:
    (ramp / "mean").write_bytes(content)

    with pytest.raises(FileError, match=r"mean: (is no BlobProto|holds no array)"):
        image_rig(backend, ramp, GREY, f'mean_file: "{ramp / "mean"}"')


# ---- Data -----------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Five 2x2 pictures of two channels, all values i, labelled i; the fourth as floats."""
    path = tmp_path / "lmdb"
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        for i in range(5):
            datum = Datum(channels=2, height=2, width=2, label=i)
            if i == 3:
                datum.float_data.extend([3.5] * 8)
            else:
                datum.data = bytes([i] * 8)
            transaction.put(f"{i:08}".encode(), datum.SerializeToString())
    return path


def data_rig(
    backend: Backend, path: Path, fields: str = "", tops: int = 2, **more: Any
) -> LayerRig:
    text = (
        f'type: "Data" data_param {{ source: "{path}" backend: LMDB batch_size: 2 {fields} }} '
        + more.pop("transform", "")
    )
    return LayerRig(backend, text, tops=tops, **more)


def test_records_come_in_key_order_round_and_round(database: Path, backend: Backend) -> None:
    rig = data_rig(backend, database)

    batches = [rig.forward() for _ in range(3)]

    assert batches[0][0].shape == (2, 2, 2, 2)
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), [0, 1, 2, 3, 4, 0])
    np.testing.assert_array_equal(batches[1][0][:, 0, 0, 0], [2, 3.5])


def test_labels_can_be_left_out(database: Path, backend: Backend) -> None:
    assert len(data_rig(backend, database, tops=1).forward()) == 1


def test_encoded_records_are_decoded_blue_first(tmp_path: Path, backend: Backend) -> None:
    Image.new("RGB", (3, 2), (1, 2, 3)).save(tmp_path / "a.png")
    datum = Datum(encoded=True, data=(tmp_path / "a.png").read_bytes(), label=7)
    with lmdb.open(str(tmp_path / "db")) as environment, environment.begin(write=True) as writer:
        writer.put(b"0", datum.SerializeToString())

    data, labels = data_rig(backend, tmp_path / "db").forward()

    np.testing.assert_array_equal(data[0, :, 0, 0], [3, 2, 1])
    np.testing.assert_array_equal(labels, [7, 7])


def test_encoded_records_can_be_forced_to_grey(tmp_path: Path, backend: Backend) -> None:
    Image.new("RGB", (3, 2), (9, 9, 9)).save(tmp_path / "a.png")
    datum = Datum(encoded=True, data=(tmp_path / "a.png").read_bytes())
    with lmdb.open(str(tmp_path / "db")) as environment, environment.begin(write=True) as writer:
        writer.put(b"0", datum.SerializeToString())

    rig = data_rig(backend, tmp_path / "db", transform="transform_param { force_gray: true }")

    assert rig.forward()[0].shape == (2, 1, 2, 3)


def test_a_missing_database_is_named(tmp_path: Path, backend: Backend) -> None:
    with pytest.raises(FileError, match="gone: layer 'layer': cannot open the database"):
        data_rig(backend, tmp_path / "gone")


def test_a_record_that_is_no_datum_is_refused(tmp_path: Path, backend: Backend) -> None:
    with lmdb.open(str(tmp_path / "db")) as environment, environment.begin(write=True) as writer:
        writer.put(b"0", b"\xff\xff\xff")

    with pytest.raises(NetError, match="layer 'layer': a record is no Datum"):
        data_rig(backend, tmp_path / "db")


def test_leveldb_is_refused_with_a_way_out(backend: Backend) -> None:
    text = 'type: "Data" data_param { source: "x" batch_size: 1 backend: LEVELDB }'

    with pytest.raises(NetError, match=r"Unknown database backend.*nst convert-imageset"):
        LayerRig(backend, text)


# ---- WindowData -----------------------------------------------------------------------------------


@pytest.fixture
def windows(tmp_path: Path) -> Path:
    """One 8x10 picture, value 10 * row + column, with a foreground and a background window."""
    values = (10 * np.arange(8)[:, None] + np.arange(10)).astype(np.uint8)
    Image.fromarray(np.stack([values] * 3, axis=2), "RGB").save(tmp_path / "p.png")
    (tmp_path / "windows.txt").write_text("# 0\np.png\n3\n8\n10\n2\n5 0.9 2 1 5 4\n3 0.1 0 0 3 3\n")
    return tmp_path


def window_rig(
    backend: Backend,
    folder: Path,
    fields: str = "",
    transform: str = "crop_size: 4",
    foreground: float = 0.5,
) -> LayerRig:
    text = (
        f'type: "WindowData" window_data_param {{ source: "{folder / "windows.txt"}" '
        f'root_folder: "{folder}/" batch_size: 4 fg_fraction: {foreground} {fields} }} '
        f"transform_param {{ {transform} }}"
    )
    return LayerRig(backend, text, tops=2)


def test_background_comes_before_foreground(windows: Path, backend: Backend) -> None:
    data, labels = window_rig(backend, windows).forward()

    rows, columns = np.arange(4)[:, None], np.arange(4)
    np.testing.assert_array_equal(labels, [0, 0, 5, 5])
    np.testing.assert_array_equal(data[0, 0], 10 * rows + columns)
    np.testing.assert_array_equal(data[3, 2], 10 * (rows + 1) + columns + 2)


def test_a_window_is_warped_to_the_crop(windows: Path, backend: Backend) -> None:
    data, _ = window_rig(backend, windows, transform="crop_size: 2 scale: 0.5").forward()

    # each pixel is the mean of 2x2, rounded half up as OpenCV rounds bytes, then scaled
    np.testing.assert_array_equal(data[0, 0], np.floor([[6.0, 8], [26, 28]]) / 2)


def test_context_beyond_the_picture_stays_zero(windows: Path, backend: Backend) -> None:
    transform = "crop_size: 4 mean_value: 8"

    data, _ = window_rig(backend, windows, "context_pad: 1", transform).forward()

    # the background window touches the corner: its row and column of context lie outside
    np.testing.assert_array_equal(data[0, :, 0, :], 0)
    np.testing.assert_array_equal(data[0, :, :, 0], 0)
    assert data[0, 0, 1, 1] < 0


def test_mirrored_windows_run_backwards(windows: Path, backend: Backend) -> None:
    rig = window_rig(backend, windows, "cache_images: true", "crop_size: 4 mirror: true")

    steps = {float(x[0, 0, 1] - x[0, 0, 0]) for _ in range(10) for x in rig.forward()[0]}

    assert steps == {1, -1}


def test_a_square_window_keeps_its_proportions(windows: Path, backend: Backend) -> None:
    (windows / "windows.txt").write_text("# 0\np.png\n3\n8\n10\n1\n0 0.0 2 3 5 4\n")

    data, _ = window_rig(backend, windows, 'crop_mode: "square"', foreground=0).forward()

    # 4 wide, 2 high: grown to 5x5 around its centre, as Caffe's rounding has it
    assert data[0, 0, 3, 0] - data[0, 0, 0, 0] == pytest.approx(37, abs=2)


@pytest.mark.parametrize(
    ("content", "fields", "wording"),
    [
        ("", "", "Window file is empty"),
        ("hello", "", "no window file: picture 0: got 'hello', expected '#'"),
        ("# 0\np.png\n3\n8\n10\n1\n1 0.9 0 0", "", "the file ends early"),
        ("# 0\np.png\n3\n8\n10\n1\n1 0.9 0 0 3 3", "", "has no background windows"),
        (
            "# 0\np.png\n3\n8\n10\n2\n0 0.9 0 0 3 3\n0 0.1 0 0 3 3",
            "",
            "needs a class above 0",
        ),
        ("# 0\np.png\n3\n8\n10\n0\n", 'crop_mode: "bent"', "unknown crop_mode"),
        ("# 0\np.png\n3\n8\n10\n0\n", "context_pad: 2", "context_pad leaves nothing"),
    ],
)
def test_a_bad_window_file_is_refused(
    content: str, fields: str, wording: str, windows: Path, backend: Backend
) -> None:
    (windows / "windows.txt").write_text(content)
    with pytest.raises(NetError, match=f"(?s)layer 'layer': .*{wording}"):
        window_rig(backend, windows, fields)
