"""The exception tree: everything that `nst` raises on purpose.

    NstError
    ├── PrototxtError(path, line, column)   text that does not parse; also a ValueError
    ├── NetError(layer)                     a net that cannot be built; also a ValueError
    │   └── ShapeError                      blobs whose shapes do not fit each other
    ├── WeightsError(path, layer)           weights missing, damaged or unfit; also a ValueError
    ├── BackendError                        a device that failed
    │   └── BackendUnavailable              a device that was asked for and is not there
    ├── SolverError(iteration)              an optimisation that cannot go on
    │   └── Diverged                        loss or gradient is no longer finite
    ├── SnapshotError(path)                 a solver state missing, damaged or foreign; also a ValueError
    ├── ImageError(path)                    a picture that cannot be read or written; also a ValueError
    ├── FileError(path)                     any other file that cannot be read or written; also an OSError
    └── UsageError                          a request that contradicts itself; also a ValueError

Text convention: `where: what (got ..., expected ...). hint`, values by `repr`, shapes as tuples.
The command line prints one line of it and exits with 2 for bad input, 1 for a run that failed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NstError(Exception):
    """Base of all errors that `nst` raises on purpose."""


class PrototxtError(NstError, ValueError):
    """Prototxt text that does not parse; `line` and `column` count from 1, 0 means unknown."""

    def __init__(self, message: str, *, path: str = "", line: int = 0, column: int = 0) -> None:
        where = ":".join(str(part) for part in (path or "<text>", line, column) if part)
        super().__init__(f"{where}: {message}")
        self.path, self.line, self.column = path, line, column


class NetError(NstError, ValueError):
    """A net that cannot be built or run as described; `layer` names the layer, if one is to blame."""

    def __init__(self, message: str, *, layer: str = "") -> None:
        super().__init__(f"layer '{layer}': {message}" if layer else message)
        self.layer = layer


class ShapeError(NetError):
    """Blobs whose shapes do not fit each other or the layer's parameters."""


class WeightsError(NstError, ValueError):
    """Weights that are missing, damaged, or do not fit the net."""

    def __init__(self, message: str, *, path: str = "", layer: str = "") -> None:
        where = f"{path}: " if path else ""
        where += f"layer '{layer}': " if layer else ""
        super().__init__(where + message)
        self.path, self.layer = path, layer


class BackendError(NstError, RuntimeError):
    """A device or its libraries failed."""


class BackendUnavailable(BackendError):
    """A backend was asked for by name and is not there; the text says what was looked for."""


class SolverError(NstError, RuntimeError):
    """An optimisation that cannot start or go on; `iteration` is -1 before the first."""

    def __init__(self, message: str, *, iteration: int = -1) -> None:
        super().__init__(f"iteration {iteration}: {message}" if iteration >= 0 else message)
        self.iteration = iteration


class Diverged(SolverError):
    """Loss or gradient stopped being finite; the best state so far is kept."""


class SnapshotError(NstError, ValueError):
    """A solver state that is missing, damaged, or belongs to another run."""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class ImageError(NstError, ValueError):
    """A picture that cannot be read or written."""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class FileError(NstError, OSError):
    """A file that cannot be read or written and is none of the above."""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class UsageError(NstError, ValueError):
    """A request that is incomplete or contradicts itself."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the nearest known word, or an empty string."""
    folded = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return f" Did you mean '{folded[near[0]]}'?" if near else ""
