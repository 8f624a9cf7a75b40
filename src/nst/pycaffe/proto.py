"""caffe.proto: `caffe_pb2` is nst's messages, which carry Caffe's names, fields and numbers."""

from __future__ import annotations

import nst.proto as caffe_pb2

__all__ = ["caffe_pb2"]
