"""Damaged files of every kind: a run ends with an exit code and one line, never with a surprise."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nst.cli.main import main as nst
from nst.cli.solve import main

FILES = ("solver.prototxt", "net.prototxt", "tiny.caffemodel", "town.png")


def damaged(data: bytes, seed: int) -> bytes:
    """Bytes replaced, cut out, doubled, or the end cut off."""
    rng = np.random.default_rng(seed)
    result = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(result))) if result else 0
        kind = rng.integers(4)
        if kind == 0:
            result[at : at + 1] = rng.bytes(1)
        elif kind == 1:
            del result[at : at + int(rng.integers(1, 20))]
        elif kind == 2:
            result[at:at] = result[at : at + int(rng.integers(1, 20))]
        elif rng.integers(4) == 0:
            del result[at:]
    return bytes(result)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_a_damaged_file_never_surprises(name: str, seed: int, workshop: Path) -> None:
    path = workshop / name
    whole = path.read_bytes()
    errors = io.StringIO()
    try:
        path.write_bytes(damaged(whole, seed))
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            words = ("--iterations", "1", "--sizes", "24", "--backend", "numpy")
            code = main(["solver.prototxt", *words, "--output", "fuzzed.png"])
    finally:
        path.write_bytes(whole)
    assert code in (0, 1, 2)
    assert "unexpected" not in errors.getvalue()
    assert errors.getvalue().count("\n") == (code != 0)


@pytest.mark.parametrize("name", ("net.prototxt", "tiny.caffemodel"))
@pytest.mark.parametrize("words", (["upgrade", "{}", "-"], ["draw", "{}", "x.dot"]))
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_tools_are_not_surprised_either(
    name: str, words: list[str], seed: int, workshop: Path
) -> None:
    (workshop / "odd").write_bytes(damaged((workshop / name).read_bytes(), seed))
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = nst([word.format("odd") for word in words])
    assert code in (0, 2)
    assert "unexpected" not in errors.getvalue()
