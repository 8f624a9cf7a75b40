"""Finding what went wrong in a net: the first layer whose output is no longer finite."""

from __future__ import annotations

from collections.abc import Sequence

from nst.core import Blob
from nst.net.plan import Wiring


def find_non_finite(wiring: Wiring, blobs: Sequence[Blob]) -> str:
    """Names the first layer and blob that hold a NaN or infinity; empty if all is finite."""
    for planned in wiring.layers:
        for number in planned.tops:
            blob = blobs[number]
            if not bool(blob.backend.xp.isfinite(blob.data).all()):
                kind = planned.layer_type.type
                return f"layer '{planned.name}' ({kind}), blob '{wiring.blob_names[number]}'"
    return ""
