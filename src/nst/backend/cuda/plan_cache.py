"""The plan cache: chosen plans on disk, a small JSON file each, so that only the first run times them.

Kept in `NST_CACHE`, else in the user's cache folder; a file is whole or not there. A cache that cannot be
read or written is no error: plans are then chosen again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

FOLDER = "cudnn-plans"


def cache_folder() -> Path:
    """Where plans are kept, beside the weights that `nst weights fetch` brings."""
    chosen = os.environ.get("NST_CACHE")
    if chosen:
        return Path(chosen).expanduser() / FOLDER
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "nst" / "Cache" / FOLDER
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/nst" / FOLDER
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nst" / FOLDER


class PlanCache:
    """Plans by key; `scope` (device, driver) is part of every key."""

    def __init__(self, scope: str, folder: Path | None = None) -> None:
        self.scope = scope
        self.folder = folder or cache_folder()

    def get(self, key: str) -> str | None:
        """The plan that was put under this key, or None."""
        try:
            entry = json.loads(self._path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        is_entry = isinstance(entry, dict) and entry.get("key") == self._full(key)
        return str(entry["plan"]) if is_entry and "plan" in entry else None

    def put(self, key: str, plan: str, seconds: float) -> None:
        """Keeps a plan and how long a launch of it took."""
        entry = {"key": self._full(key), "seconds": seconds, "plan": plan}
        path = self._path(key)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".plan.")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(entry, file)
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise

    def _full(self, key: str) -> str:
        return f"{self.scope}; {key}"

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(self._full(key).encode()).hexdigest()[:32]}.json"
