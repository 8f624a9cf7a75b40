"""Solver states on disk: Caffe's .solverstate and .solverstate.h5, both ways.

Caffe's part (iteration, weights file, history, step of the rate policy) is what Caffe writes and reads. What
rules of our own need beyond it lies beside it, where Caffe does not look: private fields in the binary
form, the group /nst in HDF5.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, Any

import h5py
import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from nst.errors import SnapshotError
from nst.io.atomic import write_atomically
from nst.io.blob_proto import array_to_blob, blob_to_array
from nst.io.files import FilePath, read_bytes
from nst.io.hdf5 import DAMAGED
from nst.io.seal import append_seal, check_seal
from nst.io.signature import HDF5, looks_like
from nst.io.wire import WireError
from nst.proto import SolverState

Array = NDArray[Any]

_OURS = "nst"
_CHUNK = 1 << 11  # bytes per write of a sealed snapshot


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Where an optimisation stands.

    `history` is Caffe's: one array per learnable parameter, two blocks of them for AdaDelta and
    Adam. `state` holds arrays of rules that Caffe does not have, by name.
    """

    iteration: int
    learned_net: str = ""
    history: Sequence[Array] = ()
    current_step: int = 0
    state: Mapping[str, Array] = field(default_factory=dict)
    options_hash: str = ""
    rng_state: bytes = b""
    size_index: int = 0


def read_snapshot(path: FilePath) -> Snapshot:
    """Returns the solver state in a file, HDF5 or binary by its signature. Errors: SnapshotError."""
    data = read_bytes(path, SnapshotError)
    try:
        return _from_hdf5(path) if data.startswith(HDF5) else _from_message(data)
    except (DecodeError, WireError, AttributeError, IndexError, *DAMAGED) as error:
        kind = looks_like(data[:256])
        what = (
            f"it looks like {kind}" if kind and not data.startswith(HDF5) else f"damaged ({error})"
        )
        raise SnapshotError(f"no solver state: {what}", path=os.fspath(path)) from error


def write_snapshot(path: FilePath, snapshot: Snapshot) -> None:
    """Writes the solver state, as HDF5 if the name ends in .h5, else as binary. Errors: FileError."""

    def write(file: IO[bytes]) -> None:
        with h5py.File(file, "w") as target:
            _to_hdf5(target, snapshot)

    if os.fspath(path).endswith(".h5"):
        write_atomically(path, write)
    else:
        write_atomically(path, _to_message(snapshot).SerializeToString())


def read_sealed_snapshot(path: FilePath) -> Snapshot:
    """Returns what `write_sealed_snapshot` wrote; SnapshotError if a single byte of it differs."""
    check_seal(path)
    try:
        return _from_hdf5(path)
    except (AttributeError, IndexError, *DAMAGED) as error:
        raise SnapshotError(f"no solver state: damaged ({error})", path=os.fspath(path)) from error


def write_sealed_snapshot(path: FilePath, snapshot: Snapshot) -> None:
    """Writes the solver state as HDF5 of any size, sealed by a checksum. Errors: FileError."""

    def write(file: IO[bytes]) -> None:
        # libhdf5 must not meet a full disk: closing a file that refuses writes can crash the process
        memory = BytesIO()
        with h5py.File(memory, "w") as target:
            _to_hdf5(target, snapshot)
        whole = memory.getbuffer()
        for begin in range(0, len(whole), _CHUNK):
            file.write(whole[begin : begin + _CHUNK])
        append_seal(file)

    write_atomically(path, write)


def _from_message(data: bytes) -> Snapshot:
    message = SolverState.FromString(data)
    if not message.HasField("iter"):
        raise WireError("the iteration is missing")
    return Snapshot(
        iteration=message.iter,
        learned_net=message.learned_net,
        history=tuple(blob_to_array(blob).array for blob in message.history),
        current_step=message.current_step,
        state={item.name: blob_to_array(item.blob).array for item in message.state},
        options_hash=message.options_hash,
        rng_state=message.rng_state,
        size_index=message.size_index,
    )


def _to_message(snapshot: Snapshot) -> SolverState:
    message = SolverState(iter=snapshot.iteration, learned_net=snapshot.learned_net)
    message.current_step = snapshot.current_step
    message.history.extend(array_to_blob(array) for array in snapshot.history)
    for name, array in snapshot.state.items():
        message.state.add(name=name, blob=array_to_blob(array))
    for name in ("options_hash", "rng_state", "size_index"):
        if value := getattr(snapshot, name):
            setattr(message, name, value)
    return message


def _from_hdf5(path: FilePath) -> Snapshot:
    with h5py.File(path, "r") as file:
        history = file["history"]
        extra = file.get(_OURS)
        return Snapshot(
            iteration=int(np.ravel(file["iter"][()])[0]),
            learned_net=file["learned_net"][()].decode("utf-8"),
            history=tuple(np.asarray(history[str(index)][()]) for index in range(len(history))),
            current_step=int(np.ravel(file["current_step"][()])[0]),
            state={} if extra is None else _read_state(extra["state"]),
            options_hash=_bytes(extra, "options_hash").decode("utf-8"),
            rng_state=_bytes(extra, "rng_state"),
            size_index=0 if extra is None else int(extra.attrs["size_index"]),
        )


def _read_state(group: h5py.Group) -> dict[str, Array]:
    return {_bytes(item, "name").decode("utf-8"): np.asarray(item[()]) for item in group.values()}


def _bytes(item: h5py.Group | h5py.Dataset | None, attribute: str) -> bytes:
    return b"" if item is None else np.asarray(item.attrs[attribute], np.uint8).tobytes()


def _to_hdf5(file: h5py.File, snapshot: Snapshot) -> None:
    file["iter"] = np.array([snapshot.iteration], np.int32)
    _write_text(file, "learned_net", snapshot.learned_net)
    file["current_step"] = np.array([snapshot.current_step], np.int32)
    history = file.create_group("history")
    for index, array in enumerate(snapshot.history):
        history[str(index)] = array
    extra = file.create_group(_OURS)
    _set_bytes(extra, "options_hash", snapshot.options_hash.encode("utf-8"))
    _set_bytes(extra, "rng_state", snapshot.rng_state)
    extra.attrs["size_index"] = snapshot.size_index
    state = extra.create_group("state")
    for index, (name, array) in enumerate(snapshot.state.items()):
        # Names may hold anything, a slash too; keys of groups may not.
        item = state.create_dataset(f"{index:06d}", data=array)
        _set_bytes(item, "name", name.encode("utf-8"))


def _set_bytes(item: h5py.Group | h5py.Dataset, attribute: str, data: bytes) -> None:
    """Stores text as numbers: damage to HDF5's own heap of strings can make libhdf5 hang."""
    item.attrs[attribute] = np.frombuffer(data, np.uint8)


def _write_text(file: h5py.File, name: str, text: str) -> None:
    """Writes a string as H5LTmake_dataset_string does: fixed length, ended by a zero byte."""
    data = text.encode("utf-8") + b"\0"
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(len(data))
    kind.set_strpad(h5py.h5t.STR_NULLTERM)
    space = h5py.h5s.create(h5py.h5s.SCALAR)
    dataset = h5py.h5d.create(file.id, name.encode(), kind, space)
    dataset.write(space, space, np.array(data, dtype=f"S{len(data)}"), kind)
