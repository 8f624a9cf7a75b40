"""The style library: equal arrays once, damage noticed, shrunk by repacking, safe against kills."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from nst.errors import FileError
from nst.io import atomic
from nst.io.style_library import StyleLibrary


def gram(seed: int, channels: int = 32) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(channels, 100)).astype(np.float32)
    return (x @ x.T)[None]


ABOUT = {"style": "starry.jpg", "size": "64x48", "net": "tiny"}


@pytest.fixture
def library(tmp_path: Path) -> StyleLibrary:
    return StyleLibrary(tmp_path / "styles.h5")


def test_what_is_put_comes_back_bit_for_bit(library: StyleLibrary) -> None:
    arrays = {"gram_conv1_1": gram(1), "w2_a/b": gram(2).astype(np.float64), "n": np.array(3.0)}

    library.put("key", arrays, ABOUT)
    found = StyleLibrary(library.path).get("key")

    assert found is not None
    assert list(found) == sorted(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert library.get("another") is None
    (entry,) = library.entries()
    assert (entry.key, entry.about) == ("key", ABOUT)


def test_a_library_that_is_not_there_is_empty(library: StyleLibrary) -> None:
    assert library.entries() == []
    assert library.get("key") is None
    assert not library.path.exists()


def test_equal_arrays_are_stored_once(library: StyleLibrary) -> None:
    library.put("one", {"gram_a": gram(1, 128)}, ABOUT)
    size = library.path.stat().st_size

    for number in range(5):
        library.put(f"other {number}", {"gram_b": gram(1, 128)}, ABOUT)

    assert library.path.stat().st_size < size + 40_000 < 2 * size
    assert len(library.entries()) == 6


def test_putting_a_key_again_replaces_it(library: StyleLibrary) -> None:
    library.put("key", {"a": gram(1)}, ABOUT)
    library.put("key", {"a": gram(2)}, {**ABOUT, "size": "other"})

    found = library.get("key")

    assert found is not None
    np.testing.assert_array_equal(found["a"], gram(2))
    assert [entry.about["size"] for entry in library.entries()] == ["other"]


def test_optimize_gives_back_the_space_of_what_is_gone(library: StyleLibrary) -> None:
    for number in range(6):
        library.put(f"{number}", {"a": gram(number, 128)}, ABOUT)
    library.remove(["0", "1", "2", "missing"])
    kept = {key: library.get(key) for key in ("3", "4", "5")}

    before, after = library.optimize()

    assert after < 0.6 * before
    assert library.path.stat().st_size == after
    assert library.verify() == []
    for key, arrays in kept.items():
        found = library.get(key)
        assert found is not None and arrays is not None
        np.testing.assert_array_equal(found["a"], arrays["a"])
    library.put("new", {"a": gram(9)}, ABOUT)
    assert len(library.entries()) == 4


def spoil(library: StyleLibrary, array: np.ndarray) -> None:
    """Flips bits of one stored array in the file."""
    data = bytearray(library.path.read_bytes())
    at = data.find(array.tobytes()[:64])
    assert at > 0
    data[at + 8] ^= 0xFF
    library.path.write_bytes(data)


def test_damage_is_noticed_named_and_dropped_by_optimize(library: StyleLibrary) -> None:
    library.put("bad", {"gram_conv1_1": gram(1)}, ABOUT)
    library.put("good", {"gram_conv1_1": gram(2)}, ABOUT)
    spoil(library, gram(1))

    with pytest.raises(FileError, match=r"damaged .the values of"):
        library.get("bad")
    (problem,) = library.verify()
    assert problem == "entry bad (starry.jpg at 64x48, tiny): gram_conv1_1 is damaged"
    library.optimize()
    assert [entry.key for entry in library.entries()] == ["good"]
    assert library.verify() == []


def test_putting_a_damaged_array_again_repairs_it(library: StyleLibrary) -> None:
    library.put("key", {"a": gram(1)}, ABOUT)
    spoil(library, gram(1))

    library.put("key", {"a": gram(1)}, ABOUT)

    assert library.verify() == []


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\nxx", b"\x89HDF\r\n\x1a\n" + b"\0" * 500]
)
def test_a_file_that_is_no_library_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "styles.h5"
    path.write_bytes(content)

    with pytest.raises(FileError, match=r"styles.h5: (no style library|the style library)"):
        StyleLibrary(path)


def test_hdf5_of_something_else_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["data"] = 1

    with pytest.raises(FileError, match="no style library"):
        StyleLibrary(tmp_path / "w.h5")


def test_a_full_disk_leaves_the_library_as_it_was(
    library: StyleLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.put("key", {"a": gram(1)}, ABOUT)
    old = library.path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    for change in (lambda: library.put("b", {"a": gram(2)}, ABOUT), library.optimize):
        with pytest.raises(FileError, match="No space left"):
            change()
        assert library.path.read_bytes() == old
    assert {path.name for path in library.path.parent.iterdir()} == {"styles.h5", ".styles.h5.lock"}


WRITER = """
import sys
import numpy as np
from nst.io.style_library import StyleLibrary
library = StyleLibrary(sys.argv[1])
first = int(sys.argv[2])
for number in range(first, first + int(sys.argv[3])):
    values = np.full((1, 64, 64), number, np.float32)
    library.put(f"{number:06d}", {"a": values}, {"size": number})
    print(number, flush=True)
"""


def writer(path: Path, first: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(first), str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_a_kill_loses_at_most_the_entry_being_added(library: StyleLibrary) -> None:
    rng = random.Random(11)
    done = -1
    for _ in range(3):
        with writer(library.path, done + 1, 10_000) as process:
            assert process.stdout is not None
            target = done + rng.randint(2, 8)
            for line in process.stdout:
                done = int(line)
                if done >= target:
                    break
            process.kill()
        assert library.verify() == []
        keys = [int(entry.key) for entry in library.entries()]
        assert keys == list(range(len(keys)))
        assert len(keys) >= done + 1
        done = len(keys) - 1


def test_two_writers_at_once_lose_nothing(library: StyleLibrary) -> None:
    with writer(library.path, 0, 12) as one, writer(library.path, 100, 12) as other:
        one.communicate(timeout=60)
        other.communicate(timeout=60)

    assert len(library.entries()) == 24
    assert library.verify() == []
