"""What our code asks of the array module is there in CuPy, and cuBLAS's numbers are those of its header."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from backend.cuda.wheel import cudnn_wheel

from nst.backend.cuda import cublas

SOURCE = Path(__file__).resolve().parents[3] / "src/nst"
ASKED = re.compile(r"(?<![.\w])(?:self\.)?(?:_?backend\.)?xp\.([a-z_]\w*(?:\.[a-z_]\w*)*)")


def names_asked() -> set[str]:
    """Names that code asks of `xp`; of its ufuncs' methods (`add.at`) the ufunc."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for name in ASKED.findall(path.read_text(encoding="utf-8")):
            found.add(name.removesuffix(".at"))
    return found


def test_the_names_are_found() -> None:
    assert {"multiply", "maximum", "linalg.eigh", "take_along_axis"} <= names_asked()


@pytest.mark.parametrize("name", sorted(names_asked()))
def test_cupy_has_every_name_that_is_asked_of_it(name: str) -> None:
    module: Any = pytest.importorskip("cupy", reason="needs CuPy, which is not installed")
    for part in name.split("."):
        assert hasattr(module, part), f"cupy has no {name}"
        module = getattr(module, part)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CUBLAS_COMPUTE_32F", cublas._COMPUTE_32F),
        ("CUBLAS_COMPUTE_64F", cublas._COMPUTE_64F),
        ("CUBLAS_COMPUTE_32F_FAST_TF32", cublas._COMPUTE_FAST_TF32),
        ("CUBLAS_POINTER_MODE_HOST", cublas._HOST_POINTERS),
        ("CUBLAS_POINTER_MODE_DEVICE", cublas._DEVICE_POINTERS),
        ("CUBLAS_GEMM_DEFAULT", cublas._DEFAULT_ALGORITHM),
        *((f"CUBLAS_STATUS_{name}", number) for number, name in cublas._STATUS.items()),
    ],
)
def test_the_numbers_of_cublas_are_those_of_its_header(name: str, value: int) -> None:
    folder = cudnn_wheel() / "nvidia"
    headers = [
        *folder.glob("cu13/include/cublas_api.h"),
        *folder.glob("cublas/include/cublas_api.h"),
    ]
    if not headers:
        pytest.skip("needs the headers of NVIDIA's cuBLAS wheel")

    (found,) = re.findall(rf"\b{name}\s*=\s*(-?\d+)", headers[0].read_text())

    assert int(found) == value
