from __future__ import annotations

import copy
import itertools
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import text_format

from nst import proto
from nst.proto import (
    LayerParameter,
    NetParameter,
    Phase,
    PoolingParameter,
    SolverParameter,
    V1LayerParameter,
)

REPO = Path(__file__).resolve().parents[2]

# Wire facts of BVLC Caffe that its own files depend on: (message, field, number).
NUMBERS = [
    ("NetParameter", "layer", 100),
    ("NetParameter", "layers", 2),
    ("NetParameter", "input_shape", 8),
    ("LayerParameter", "blobs", 7),
    ("LayerParameter", "convolution_param", 106),
    ("LayerParameter", "parameter_param", 145),
    ("LayerParameter", "swish_param", 147),
    ("LayerParameter", "clip_param", 148),
    ("V1LayerParameter", "type", 5),
    ("V1LayerParameter", "blobs", 6),
    ("V1LayerParameter", "param", 1001),
    ("V0LayerParameter", "blobs", 50),
    ("BlobProto", "data", 5),
    ("BlobProto", "shape", 7),
    ("BlobProto", "double_data", 8),
    ("ConvolutionParameter", "dilation", 18),
    ("PoolingParameter", "round_mode", 13),
    ("SolverParameter", "type", 40),
    ("SolverParameter", "weights", 42),
    ("SolverState", "current_step", 4),
]

# A process of its own, so that the implementation of protobuf can be chosen.
ROUND_TRIP = """
import pickle
from nst.proto import LayerParameter, Phase, PoolingParameter
layer = LayerParameter(name="p", pooling_param={"pool": PoolingParameter.AVE}, loss_weight=[0.5])
assert LayerParameter.FromString(layer.SerializeToString()) == layer
assert pickle.loads(pickle.dumps(layer)) == layer
assert Phase.Name(1) == "TEST"
"""


@pytest.mark.parametrize(("message", "field", "number"), NUMBERS)
def test_fields_carry_the_numbers_of_caffe(message: str, field: str, number: int) -> None:
    assert getattr(proto, message).DESCRIPTOR.fields_by_name[field].number == number


def test_additions_stay_out_of_the_numbers_that_caffe_and_protobuf_use() -> None:
    ours = ("gram_param", "event_param", "scalar_param", "tv_loss_param", "moments_param")
    numbers = [LayerParameter.DESCRIPTOR.fields_by_name[name].number for name in ours]
    assert all(10000 <= number < 19000 for number in numbers)


def test_v1_knows_thirty_nine_types_and_none() -> None:
    assert len(V1LayerParameter.LayerType.keys()) == 40


def test_defaults_are_those_of_caffe() -> None:
    solver = SolverParameter()
    assert (solver.type, solver.momentum2, solver.snapshot_after_train) == (
        "SGD",
        pytest.approx(0.999),
        True,
    )
    assert PoolingParameter().pool == PoolingParameter.MAX
    assert LayerParameter().convolution_param.group == 1


def test_messages_survive_pickling_and_copying() -> None:
    net = text_format.Parse('layer { name: "c" clip_param { min: 0 max: 1 } }', NetParameter())
    assert pickle.loads(pickle.dumps(net)) == net
    assert pickle.loads(pickle.dumps(net.layer[0])) == net.layer[0]
    assert copy.deepcopy(net) == net


def test_enums_know_their_names() -> None:
    assert PoolingParameter.PoolMethod.Name(PoolingParameter.AVE) == "AVE"
    assert Phase.Value("TEST") == proto.TEST


def test_a_field_called_by_a_keyword_is_read_by_getattr() -> None:
    init = text_format.Parse("from: NOISE", proto.InitialImage())
    assert getattr(init, "from") == proto.InitialImage.NOISE


@pytest.mark.parametrize("implementation", ["upb", "python"])
def test_messages_work_in_every_implementation_of_protobuf(implementation: str) -> None:
    environment = os.environ | {
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation,
        "PYTHONPATH": str(REPO / "src"),
    }
    command = [sys.executable, "-W", "error", "-c", ROUND_TRIP]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_generated_code_is_up_to_date() -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools writes the generated code")
    command = [sys.executable, str(REPO / "tools" / "gen_proto"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_message_and_field_has_a_comment() -> None:
    lines = (REPO / "proto" / "nst.proto").read_text(encoding="utf-8").splitlines()
    starts = ("optional ", "repeated ", "required ", "message ", "enum ")
    bare = [
        line
        for before, line in itertools.pairwise(lines)
        if line.strip().startswith(starts) and "//" not in line and "//" not in before
    ]
    assert bare == []
