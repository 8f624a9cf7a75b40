"""The door's mode is the process's: each test gets it as it is at the start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nst.pycaffe import mode


@pytest.fixture(autouse=True)
def defaults_come_back() -> Iterator[None]:
    kept = mode._Defaults.backend, mode._Defaults.seed, mode._Defaults.allow_python
    yield
    mode._Defaults.backend, mode._Defaults.seed, mode._Defaults.allow_python = kept
