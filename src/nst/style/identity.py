"""What decides the numbers of a run, by name: two runs with the same identity give the same picture.

Paths do not count, what the files hold does; nor does how often something is shown or saved. The sizes and
iterations are compared apart, since a run may be resumed with more of them (`run_snapshot`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from google.protobuf.message import Message

from nst.style.job import StyleJob

SILENT_FIELDS = frozenset(
    (
        *("frames", "distances", "flow", "flow_files", "fps"),
        *("net", "net_param", "weights", "image", "output", "max_iter", "size", "sizes"),
        *("mask", "style_mask", "keep_mask"),
        *(
            "iterations",
            "save_every",
            "display",
            "report_gradients",
            "average_loss",
            "debug_info",
            "snapshot",
        ),
        *("snapshot_prefix", "snapshot_format", "snapshot_diff", "snapshot_after_train"),
        *("solver_mode", "device_id", "random_seed"),
    )
)
"""Fields of the settings that are names of files, are said elsewhere, or change no number."""

_HELD_APART = ("settings", "net", "weights", "backend", "stages", "output", "files", "notes")

Identity = Mapping[str, str]
"""What counts -> its value, or the hash of its content."""


def identity_of(job: StyleJob, dtype: str = "float32") -> dict[str, str]:
    """Everything that changes the numbers of a job, in a fixed order."""
    identity = {"backend": job.backend.name, "dtype": dtype}
    identity["net"] = _sha256(job.net.SerializeToString(deterministic=True))
    identity["weights"] = hash_of(job.weights)
    for entry in dataclasses.fields(job):
        if entry.name not in _HELD_APART:
            identity[entry.name] = hash_of(getattr(job, entry.name))
    identity.update(_settings(job.settings, ""))
    return identity


def fingerprint(identity: Identity) -> str:
    """One SHA-256 over an identity, in hexadecimal."""
    return _sha256(json.dumps(dict(identity), sort_keys=True).encode())


def differences(old: Identity, new: Identity) -> list[str]:
    """What differs between two identities, `name (was a, is b)`; hashes are not spelled out."""
    found = []
    for name in sorted(old.keys() | new.keys()):
        before, now = old.get(name, "unset"), new.get(name, "unset")
        if before != now:
            is_hash = len(before) == len(now) == 64
            found.append(name if is_hash else f"{name} (was {before}, is {now})")
    # The objective follows from the settings: alone it is news, beside its causes it is not.
    return [name for name in found if name != "objective"] or found


def _settings(message: Message, prefix: str) -> Iterator[tuple[str, str]]:
    """Path and value of every field that is set, deep first."""
    for entry, value in message.ListFields():
        if entry.name in SILENT_FIELDS:
            continue
        name = f"{prefix}{entry.name}"
        if isinstance(value, Message):
            yield from _settings(value, f"{name}.")
        elif hasattr(value, "extend"):
            for number, item in enumerate(value):
                label = f"{name}[{number}]"
                if isinstance(item, Message):
                    yield label, "given"
                    yield from _settings(item, f"{label}.")
                else:
                    yield label, str(item)
        else:
            yield name, str(value)


def hash_of(value: Any) -> str:
    """The hash of arrays, records, mappings and sequences by content; the text of plain values."""
    if value is None or isinstance(value, str | int | float | bool):
        return str(value)
    total = hashlib.sha256()
    for piece in _pieces(value):
        total.update(len(piece).to_bytes(8, "little"))
        total.update(piece)
    return total.hexdigest()


def _pieces(value: Any) -> Iterator[bytes | memoryview]:
    if isinstance(value, np.ndarray):
        yield f"{value.dtype.str}{value.shape}".encode()
        yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
    elif isinstance(value, Message):
        yield value.SerializeToString(deterministic=True)
    elif dataclasses.is_dataclass(value):
        for entry in dataclasses.fields(value):
            if entry.name not in ("path", "sha256", "notes"):
                yield entry.name.encode()
                yield from _pieces(getattr(value, entry.name))
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield str(key).encode()
            yield from _pieces(value[key])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _pieces(item)
    else:
        yield repr(value).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
