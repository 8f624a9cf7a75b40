"""The graph: pure passes over descriptions, the plan, and the Net that runs it."""

from __future__ import annotations

from nst.net.net import Net
from nst.net.passes import filter_layers, insert_splits
from nst.net.weights import CopyReport, StoredWeights

__all__ = ["CopyReport", "Net", "StoredWeights", "filter_layers", "insert_splits"]
