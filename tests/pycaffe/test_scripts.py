"""What Caffe scripts do, done through this door: each test is a script in small."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import nst.pycaffe as caffe
from nst.errors import NetError, UsageError
from nst.pycaffe import layers as L
from nst.pycaffe import params as P

DATA = Path(__file__).resolve().parent.parent / "data/vgg_small"
SOURCE = Path(__file__).resolve().parents[2] / "src"


def vgg() -> caffe.Net:
    return caffe.Net(
        str(DATA / "vgg_small_max.prototxt"),
        str(DATA / "vgg_small_conv.caffemodel"),
        caffe.TEST,
        seed=1,
    )


def write_net(path: Path, spec: caffe.NetSpec, *extra: str) -> str:
    path.write_text("\n".join([str(spec.to_proto()), *extra]))
    return str(path)


def test_features_are_extracted(rng: np.random.Generator) -> None:
    net = vgg()
    transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_mean("data", np.array([104, 117, 123]))
    transformer.set_raw_scale("data", 255)
    transformer.set_channel_swap("data", (2, 1, 0))
    net.blobs["data"].reshape(2, 3, 32, 32)
    pictures = [rng.random((48, 40, 3)), rng.random((32, 32, 3))]
    for i, picture in enumerate(pictures):
        net.blobs["data"].data[i] = transformer.preprocess("data", picture)

    out = net.forward()
    features = net.blobs["conv4_2"].data[1].flatten()

    assert out["pool5"].shape == (2, 32, 1, 1)
    net.blobs["data"].reshape(1, 3, 32, 32)
    net.forward(data=transformer.preprocess("data", pictures[1])[np.newaxis], end="relu4_2")
    np.testing.assert_allclose(net.blobs["conv4_2"].data.flatten(), features, rtol=1e-4, atol=1e-3)


def test_fully_connected_layers_become_convolutions(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Net surgery: the classifier slides over a larger picture, and each place is its own answer."""
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [1, 3, 6, 6]})
    n.fc = L.InnerProduct(n.data, num_output=4, weight_filler={"type": "xavier"})
    c = caffe.NetSpec()
    c.data = L.Input(shape={"dim": [1, 3, 9, 10]})
    c.fc_conv = L.Convolution(c.data, num_output=4, kernel_size=6)
    dense = caffe.Net(write_net(tmp_path / "fc.prototxt", n), caffe.TEST)
    sliding = caffe.Net(write_net(tmp_path / "conv.prototxt", c), caffe.TEST)

    sliding.params["fc_conv"][0].data.flat = dense.params["fc"][0].data.flat
    sliding.params["fc_conv"][1].data[...] = dense.params["fc"][1].data
    sliding.save(str(tmp_path / "conv.caffemodel"))
    sliding = caffe.Net(str(tmp_path / "conv.prototxt"), str(tmp_path / "conv.caffemodel"), 1)

    picture = rng.standard_normal((1, 3, 9, 10)).astype(np.float32)
    answers = sliding.forward(data=picture)["fc_conv"]
    one = dense.forward(data=picture[:, :, 2:8, 3:9])["fc"]
    np.testing.assert_allclose(answers[0, :, 2, 3], one[0], rtol=1e-4, atol=1e-5)


def test_a_dream_grows_what_a_layer_sees(rng: np.random.Generator) -> None:
    """Deep dream: ascend the gradient of |conv3_1|^2 / 2 with respect to the picture."""
    net = vgg()
    end = "conv3_1"
    data, seen = net.blobs["data"], net.blobs[end]
    data.reshape(1, 3, 28, 36)
    data.data[0] = rng.normal(0, 20, (3, 28, 36))
    objective = []
    for _ in range(5):
        net.forward(end=end)
        objective.append(float((seen.data**2).sum()))
        seen.diff[:] = seen.data
        net.backward(start=end)
        gradient = data.diff[0]
        data.data[:] += 1.5 / np.abs(gradient).mean() * gradient

    assert objective == sorted(objective)
    assert objective[-1] > 2 * objective[0]


def lenet(batch: int) -> caffe.NetSpec:
    """A small net for pictures of a bright left or right half."""
    n = caffe.NetSpec()
    n.data, n.label = L.MemoryData(batch_size=batch, channels=1, height=6, width=6, ntop=2)
    n.conv = L.Convolution(n.data, num_output=4, kernel_size=3, weight_filler={"type": "xavier"})
    n.pool = L.Pooling(n.conv, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    n.relu = L.ReLU(n.pool, in_place=True)
    n.score = L.InnerProduct(n.pool, num_output=2, weight_filler={"type": "xavier"})
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    n.accuracy = L.Accuracy(n.score, n.label, include={"phase": caffe.TEST})
    return n


def halves(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(count) % 2
    pictures = rng.normal(0, 0.1, (count, 1, 6, 6))
    for picture, label in zip(pictures, labels, strict=True):
        picture[0, :, 3 * label : 3 * label + 3] += 1
    return pictures.astype(np.float32), labels.astype(np.float32)


def test_a_solver_loop_learns_and_tests(tmp_path: Path, rng: np.random.Generator) -> None:
    net = write_net(tmp_path / "train.prototxt", lenet(8))
    settings = caffe.proto.caffe_pb2.SolverParameter(
        net=net, base_lr=0.1, lr_policy="fixed", momentum=0.9, test_interval=1000, max_iter=100
    )
    settings.test_iter.append(1)
    settings.snapshot_prefix = str(tmp_path / "snap")
    settings.test_initialization = False
    (tmp_path / "solver.prototxt").write_text(str(settings))
    caffe.set_mode_cpu()
    solver = caffe.get_solver(str(tmp_path / "solver.prototxt"))
    pictures, labels = halves(rng, 32)
    solver.net.set_input_arrays(pictures, labels)
    solver.test_nets[0].set_input_arrays(pictures[:8], labels[:8])

    losses = []
    for _ in range(40):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
    solver.test_nets[0].share_with(solver.net)
    solver.test_nets[0].forward()

    assert solver.iter == 40
    assert np.mean(losses[-5:]) < 0.2 * losses[0]
    assert solver.test_nets[0].blobs["accuracy"].data == 1
    assert solver.snapshot().weights.is_file()


def test_arrays_are_refused_by_a_net_without_memory_data() -> None:
    with pytest.raises(UsageError, match=r"first layer is a MemoryDataLayer \(got layer 'input'"):
        vgg().set_input_arrays(np.zeros((1, 3, 32, 32)), np.zeros(1))


class Doubler(caffe.Layer):
    """A layer of a user's own, with a factor to learn."""

    def setup(self, bottom, top):  # type: ignore[no-untyped-def]
        self.blobs.add_blob(1)
        self.blobs[0].data[...] = float(self.param_str)

    def reshape(self, bottom, top):  # type: ignore[no-untyped-def]
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):  # type: ignore[no-untyped-def]
        top[0].data[...] = self.blobs[0].data * bottom[0].data

    def backward(self, top, propagate_down, bottom):  # type: ignore[no-untyped-def]
        bottom[0].diff[...] = self.blobs[0].data * top[0].diff
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum()


@pytest.fixture
def user_module(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name under which this file's classes can be imported."""
    monkeypatch.setitem(sys.modules, "users_layers", sys.modules[__name__])
    return "users_layers"


def test_a_layer_of_ones_own_runs_and_passes_gradients(user_module: str) -> None:
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [2, 3]})
    n.twice = L.Python(n.data, name="twice", module=user_module, layer="Doubler", param_str="2")
    param = n.to_proto()
    param.force_backward = True
    net = caffe.Net(param, phase=caffe.TRAIN, allow_python=True, backend="numpy")

    net.forward(data=np.full((2, 3), 4.0))
    net.backward(twice=np.ones((2, 3)))

    assert net.blobs["twice"].data.tolist() == [[8] * 3] * 2
    assert net.blobs["data"].diff.tolist() == [[2] * 3] * 2
    assert net.params["twice"][0].diff.tolist() == [24]


def test_a_layer_of_ones_own_is_off_unless_allowed(user_module: str) -> None:
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [1]})
    n.twice = L.Python(n.data, module=user_module, layer="Doubler", param_str="2")

    with pytest.raises(NetError, match="allow_python=True"):
        caffe.Net(n.to_proto(), phase=caffe.TEST)


# ---- scripts that say `import caffe` -------------------------------------------------------------------

SCRIPT = """
import sys
import caffe
from caffe import layers as L, params as P
from caffe.proto import caffe_pb2
import caffe.io
from caffe.io import Transformer
from google.protobuf import text_format

caffe.set_mode_cpu()
net_param = caffe_pb2.NetParameter()
text_format.Merge(open(sys.argv[1]).read(), net_param)
net = caffe.Net(sys.argv[1], caffe.TEST)
assert [layer.name for layer in net_param.layer] == list(net._layer_names)
assert isinstance(Transformer({'data': net.blobs['data'].data.shape}), caffe.io.Transformer)
print(P.Pooling.MAX, net.forward()['pool5'].shape, sys.argv[2:])
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nst.pycaffe", *arguments],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_script_that_imports_caffe_runs_unchanged(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)

    done = run(str(tmp_path / "script.py"), str(DATA / "vgg_small_max.prototxt"), "--flag")

    assert (done.stdout, done.returncode) == ("0 (1, 32, 1, 1) ['--flag']\n", 0), done.stderr


def test_a_script_finds_the_modules_beside_it_and_may_be_allowed_python_layers(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.py").write_text(
        "import caffe\n"
        "class Nothing(caffe.Layer):\n"
        "    def reshape(self, bottom, top):\n"
        "        top[0].reshape(5)\n"
    )
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "p" type: "Python" top: "x" python_param { module: "mine" layer: "Nothing" } }'
    )
    (tmp_path / "script.py").write_text(
        "import caffe, sys\nprint(caffe.Net(sys.argv[1], caffe.TEST).forward()['x'].shape)\n"
    )
    arguments = (str(tmp_path / "script.py"), str(tmp_path / "net.prototxt"))

    allowed, refused = run("--allow-python", *arguments), run(*arguments)

    assert (allowed.stdout, allowed.returncode) == ("(5,)\n", 0), allowed.stderr
    assert "Python layers run code" in refused.stderr


def test_no_script_is_a_usage_error() -> None:
    done = run("nowhere.py")

    assert done.returncode == 2
    assert done.stderr == (
        "usage: python -m nst.pycaffe [--allow-python] SCRIPT.py [ARGUMENT ...] "
        "(got 'nowhere.py', no such file)\n"
    )


@pytest.fixture
def no_caffe() -> Iterator[None]:
    """sys.modules without anything called caffe, and put back afterwards."""

    def ours() -> list[str]:
        return [name for name in sys.modules if name == "caffe" or name.startswith("caffe.")]

    kept = {name: sys.modules.pop(name) for name in ours()}
    yield
    for name in ours():
        del sys.modules[name]
    sys.modules.update(kept)


def test_import_caffe_finds_the_door_after_it_was_installed(no_caffe: None) -> None:
    caffe.install_as_caffe()

    assert __import__("caffe") is caffe
    assert sys.modules["caffe.proto.caffe_pb2"].NetParameter is caffe.proto.caffe_pb2.NetParameter


def test_another_caffe_is_not_pushed_aside(no_caffe: None) -> None:
    sys.modules["caffe"] = sys

    with pytest.raises(UsageError, match="another caffe is imported"):
        caffe.install_as_caffe()


def test_a_classification_script_runs_after_import_nst_as_caffe(tmp_path: Path) -> None:
    script = tmp_path / "classify.py"
    script.write_text(
        f"""
import numpy as np
import nst as caffe

caffe.set_mode_cpu()
assert caffe.io.load_image and caffe.proto.caffe_pb2.NetParameter
net = caffe.Net({str(DATA / "vgg_small_max.prototxt")!r}, caffe.TEST,
                weights={str(DATA / "vgg_small_conv.caffemodel")!r})
transformer = caffe.io.Transformer({{"data": net.blobs["data"].data.shape}})
transformer.set_transpose("data", (2, 0, 1))
net.blobs["data"].data[...] = transformer.preprocess("data", np.full((32, 32, 3), 0.5))
print(net.forward()["pool5"].shape)
"""
    )

    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        check=False,
    )

    assert done.stdout.strip() == "(1, 32, 1, 1)", done.stderr
