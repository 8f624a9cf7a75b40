"""Running Caffe scripts as they are: `import caffe` finds this door.

    python -m nst.pycaffe classify.py --model deploy.prototxt          # an unchanged script
    python -m nst.pycaffe --allow-python train.py                      # its nets have Python layers
    nst.pycaffe.install_as_caffe(); import caffe                       # inside a program

Nothing is put anywhere but into `sys.modules` of the process.
"""

from __future__ import annotations

import runpy
import sys
from importlib import import_module
from pathlib import Path

from nst.errors import UsageError
from nst.pycaffe.glog import init_log
from nst.pycaffe.mode import allow_python_layers

_DOOR = "nst.pycaffe"
_USAGE = "usage: python -m nst.pycaffe [--allow-python] SCRIPT.py [ARGUMENT ...]"
_PARTS = ("classifier", "detector", "io", "net_spec", "proto")


def install_as_caffe() -> None:
    """Makes `import caffe`, `caffe.io`, `caffe.proto.caffe_pb2` and the like mean this door, in this process.

    Raises UsageError when another caffe is imported already.
    """
    door = import_module(_DOOR)
    if sys.modules.get("caffe", door) is not door:
        where = getattr(sys.modules["caffe"], "__file__", None)
        raise UsageError(
            f"install_as_caffe: another caffe is imported (got {where}, expected none)"
        )
    sys.modules["caffe"] = door
    for part in _PARTS:
        sys.modules[f"caffe.{part}"] = import_module(f"{_DOOR}.{part}")
    sys.modules["caffe.proto.caffe_pb2"] = import_module("nst.proto")


def run_script(arguments: list[str]) -> int:
    """Runs a script with its arguments, as `python script.py ...` would where Caffe is installed.

    Nets and solvers log to stderr, as in Caffe; GLOG_minloglevel=2 silences them. Returns the exit status, 2
    for wrong usage; what the script raises goes through.
    """
    allow_python_layers("--allow-python" in arguments[:1])
    arguments = arguments[1:] if "--allow-python" in arguments[:1] else arguments
    if not arguments or not Path(arguments[0]).is_file():
        got = f" (got {arguments[0]!r}, no such file)" if arguments else ""
        print(f"{_USAGE}{got}", file=sys.stderr)
        return 2
    install_as_caffe()
    init_log()
    sys.argv = arguments
    sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
    runpy.run_path(arguments[0], run_name="__main__")
    return 0
