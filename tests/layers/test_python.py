"""Python layers: off unless allowed; a pycaffe class runs unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.layer_rig import LayerRig, write

from nst.backend import Backend
from nst.errors import NetError

SOURCE = '''
class Scaling:
    """y = w * param * x, written as for pycaffe."""

    def setup(self, bottom, top):
        self.factor = float(self.param_str)
        self.blobs.add_blob(1)
        self.blobs[0].data[...] = 1

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.blobs[0].data * self.factor * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += self.factor * (top[0].diff * bottom[0].data).sum()
        if propagate_down[0]:
            bottom[0].diff[...] = self.blobs[0].data * self.factor * top[0].diff


class Failing(Scaling):
    def forward(self, bottom, top):
        raise ZeroDivisionError("mine")
'''

ALLOWED = {"allow_python": True}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of an importable module with two layer classes."""
    name = f"user_layers_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def text(module: str, layer: str) -> str:
    return f'type: "Python" python_param {{ module: "{module}" layer: "{layer}" param_str: "3" }}'


def test_a_class_sets_up_shapes_computes_and_learns(module: str, backend: Backend) -> None:
    rig = LayerRig(backend, text(module, "Scaling"), [[[1.0, 2]]], context=ALLOWED)
    write(rig.params[0], "data", 2)

    (y,) = rig.forward()
    (dx,) = rig.backward([[[10.0, 20]]])

    np.testing.assert_array_equal(y, [[6, 12]])
    np.testing.assert_array_equal(dx, [[60, 120]])
    np.testing.assert_array_equal(rig.params[0].diff_to_host(), [150])


def test_python_is_off_unless_allowed(module: str, backend: Backend) -> None:
    with pytest.raises(NetError, match=r"layer 'layer': Python layers run code.*--allow-python"):
        LayerRig(backend, text(module, "Scaling"), [[1.0]])


def test_a_missing_module_is_named(backend: Backend) -> None:
    with pytest.raises(NetError, match="layer 'layer': No module named 'no_such_module'"):
        LayerRig(backend, text("no_such_module", "L"), [[1.0]], context=ALLOWED)


def test_a_missing_class_is_named_with_the_nearest(module: str, backend: Backend) -> None:
    with pytest.raises(NetError, match=r"has no class 'Scalin'. Did you mean 'Scaling'"):
        LayerRig(backend, text(module, "Scalin"), [[1.0]], context=ALLOWED)


def test_what_the_class_raises_comes_through(module: str, backend: Backend) -> None:
    rig = LayerRig(backend, text(module, "Failing"), [[1.0]], context=ALLOWED)

    with pytest.raises(ZeroDivisionError, match="mine"):
        rig.forward()
