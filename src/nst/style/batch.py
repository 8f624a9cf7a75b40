"""Many pictures in one run: the model loaded once, style statistics computed once, failures kept apart.

A picture whose file carries the recipe of this very run is skipped, so a batch that was interrupted is
continued by starting it again; the picture that was being painted goes on from its snapshot.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from nst.backend import Backend
from nst.errors import FileError, NstError, SnapshotError, UsageError
from nst.io.output_lock import output_held
from nst.io.recipe import FileRecord, read_recipe
from nst.net import StoredWeights
from nst.proto import NetParameter, SolverParameter
from nst.solvers import StopReason
from nst.style.batch_list import BatchRow
from nst.style.forecast import fitted
from nst.style.identity import fingerprint, identity_of
from nst.style.job import StyleJob, load_job
from nst.style.run import Observer, StyleResult, StyleRun
from nst.style.run_snapshot import SnapshotFile, read_run_snapshot, snapshot_path
from nst.style.settings import with_preset
from nst.style.statistics_store import MemoryStore

log = logging.getLogger("nst.style")

FINGERPRINT = "fingerprint"
"""Name, among a recipe's results, of the hash that tells whether a picture is that of a run."""

FINISHED, SKIPPED, FAILED, STOPPED = "painted", "there already", "failed", "stopped"


class Saver(Protocol):
    """Writes a finished picture with its recipe, into whose results `run_fingerprint` goes."""

    def __call__(self, job: StyleJob, result: StyleResult, output: Path) -> None: ...


@dataclass(frozen=True)
class BatchOutcome:
    """What became of one picture."""

    row: BatchRow
    output: Path
    state: str
    """FINISHED, SKIPPED, FAILED or STOPPED."""
    message: str = ""
    seconds: float = 0.0


@dataclass
class Batch:
    """Paints rows one after the other.

    Args:
        settings: what holds for every row; a row's own options are over it.
        backend: where to compute.
        folder: where pictures go whose row names no output.
        save: writes a picture.
        observers: called after every iteration of every picture.
        store: style statistics, kept over all pictures.
        suffix: format of outputs that are not named.
    """

    settings: SolverParameter
    backend: Backend
    folder: Path
    save: Saver
    observers: Sequence[Observer] = ()
    store: MemoryStore = field(default_factory=MemoryStore)
    suffix: str = ".png"
    _models: dict[bytes, _Model] = field(default_factory=dict)
    _run: StyleRun | None = None
    _stopped: bool = False

    def run(
        self, rows: Iterable[BatchRow], tell: Callable[[BatchOutcome], None] = lambda outcome: None
    ) -> list[BatchOutcome]:
        """Paints the rows; `tell` hears of each when it is over. A failure ends its own row only.

        Raises UsageError before anything is painted if two rows have the same output.
        """
        rows = list(rows)
        outputs = self.outputs(rows)
        outcomes = []
        for row, output in zip(rows, outputs, strict=True):
            if self._stopped:
                break
            outcomes.append(self._one(row, output))
            tell(outcomes[-1])
        return outcomes

    def stop(self) -> None:
        """Ends after the iteration in progress; its picture goes on from there the next time."""
        self._stopped = True
        if self._run is not None:
            self._run.stop()

    def outputs(self, rows: Sequence[BatchRow]) -> list[Path]:
        """Where each row's picture goes; raises UsageError if two rows have the same."""
        outputs = [row.output or self.folder / self._name(row) for row in rows]
        seen: dict[Path, BatchRow] = {}
        for row, output in zip(rows, outputs, strict=True):
            other = seen.setdefault(output.absolute(), row)
            if other is not row:
                raise UsageError(
                    f"batch: two pictures would be written to {output} ({other.where} and {row.where})"
                )
        return outputs

    def _name(self, row: BatchRow) -> str:
        named = [path.stem for path in (row.content, *row.styles) if path is not None]
        if named and row.content is None:
            named.append("texture")
        return "_".join(named or ["picture"]) + self.suffix

    # ---- one picture -----------------------------------------------------------------------------

    def _one(self, row: BatchRow, output: Path) -> BatchOutcome:
        began = time.monotonic()
        try:
            with output_held(output):
                state, message = self._paint(row, output)
        except (NstError, MemoryError, OSError) as error:
            state, message = FAILED, str(error) or type(error).__name__
            log.warning("%s: %s", row.where, message)
        return BatchOutcome(row, output, state, message, time.monotonic() - began)

    def _paint(self, row: BatchRow, output: Path) -> tuple[str, str]:
        job = self._load(self._settings_of(row, output))
        if is_painted(output, job):
            return SKIPPED, ""
        asked, job = job, fitted(job)
        if job is not asked and is_painted(output, job):
            return SKIPPED, ""
        file = SnapshotFile(snapshot_path(output), every=job.settings.snapshot)
        resume = file.path if may_resume(file.path, job) else None
        self._run = StyleRun(
            job, list(self.observers), snapshots=file, resume=resume, statistics=self.store
        )
        if self._stopped:
            return STOPPED, "not begun"
        result = self._run.run()
        if self._run.failure is not None:
            self.save(job, result, output)
            raise self._run.failure
        if result.stop_reason == StopReason.REQUESTED.value:
            return STOPPED, f"after {len(result.history)} iterations; {file.path} has them"
        try:
            self.save(job, result, output)
        except NstError:
            self._run.save()
            raise
        file.discard()
        return FINISHED, "; ".join(str(recovery) for recovery in result.recoveries)

    def _settings_of(self, row: BatchRow, output: Path) -> SolverParameter:
        flags = SolverParameter()
        flags.CopyFrom(row.options)
        style = flags.style_transfer_param
        if row.content is not None:
            style.content.image = str(row.content)
        for number, path in enumerate(row.styles):
            masks = row.masks[number] if row.masks else {}
            style.style.add(image=str(path), **masks)
        settings = with_preset(self.settings, flags)
        settings.style_transfer_param.output = str(output)
        return settings

    def _load(self, settings: SolverParameter) -> StyleJob:
        """The job, with net and weights of an earlier row where they are the same."""
        key = _model_key(settings)
        model = self._models.get(key)
        if model is None:
            job = load_job(settings, self.backend)
            files = {k: v for k, v in job.files.items() if k == "net" or k.startswith("weights")}
            self._models[key] = _Model(job.net, job.weights, files)
            return job
        job = load_job(settings, self.backend, net=model.net, weights=model.weights)
        return dataclasses.replace(job, files={**model.files, **job.files})


@dataclass(frozen=True)
class _Model:
    net: NetParameter
    weights: StoredWeights
    files: dict[str, FileRecord]


def _model_key(settings: SolverParameter) -> bytes:
    """What decides which weights are read: the net, the files, and the taps that say how deep to go."""
    style = settings.style_transfer_param
    part = SolverParameter(net=settings.net, weights=settings.weights)
    if settings.HasField("net_param"):
        part.net_param.CopyFrom(settings.net_param)
    target = part.style_transfer_param
    target.content.layer.extend(style.content.layer)
    for term in style.style:
        target.style.add().layer.extend(term.layer)
    target.content_weight = float(bool(style.content_weight))
    target.style_weight = float(bool(style.style_weight))
    return part.SerializeToString(deterministic=True)


def run_fingerprint(job: StyleJob) -> str:
    """One hash of everything that decides the picture of a job, sizes and iterations included."""
    stages = {f"stage {i}": f"{s.iterations} at {s.size}" for i, s in enumerate(job.stages)}
    return fingerprint({**identity_of(job), **stages})


def is_painted(output: Path, job: StyleJob) -> bool:
    """Whether the output is there and carries the recipe of this very job, run to its end."""
    return output.is_file() and carries(output, run_fingerprint(job))


def carries(output: Path, run: str) -> bool:
    """Whether the output is there with this fingerprint of a run in its recipe."""
    if not output.is_file():
        return False
    try:
        results = read_recipe(output).results
    except FileError:
        return False
    return results.get(FINGERPRINT) == run


def may_resume(path: Path, job: StyleJob) -> bool:
    """Whether there is a snapshot of this job; another one's is left behind, and that is said."""
    if not path.is_file():
        return False
    try:
        read_run_snapshot(path).check(identity_of(job), job.stages, str(path))
    except (SnapshotError, UsageError) as error:
        log.warning("%s; the picture is begun anew", error)
        return False
    return True
