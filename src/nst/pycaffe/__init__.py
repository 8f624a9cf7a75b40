"""pycaffe's door: its names over the house, so that a Caffe script feels at home."""

from __future__ import annotations

from nst.pycaffe.net import Net

__all__ = ["Net"]
