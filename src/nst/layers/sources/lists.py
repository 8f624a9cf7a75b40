"""Text files that list the files of a data set."""

from __future__ import annotations

from pathlib import Path

from nst.errors import FileError, NetError


def read_list(path: str, *, layer: str) -> list[str]:
    """One path per line; raises NetError if there is no file or nothing in it."""
    lines = [line.strip() for line in _lines(path, layer)]
    paths = [line for line in lines if line]
    if not paths:
        raise NetError(f"source file {path!r} is empty (got 0 lines)", layer=layer)
    return paths


def read_labelled_list(path: str, *, layer: str) -> list[tuple[str, int]]:
    """(path, label) per line, the label behind the last space; raises NetError that names a wrong line."""
    found = []
    for number, line in enumerate(_lines(path, layer), start=1):
        if not line.strip():
            continue
        name, _, label = line.rstrip().rpartition(" ")
        try:
            found.append((name.strip(), int(label)))
        except ValueError:
            name = ""
        if not name.strip():
            raise NetError(
                f"{path}:{number}: no picture and label (got {line!r}, expected 'path label')",
                layer=layer,
            )
    if not found:
        raise NetError(f"source file {path!r} is empty (got 0 lines)", layer=layer)
    return found


def _lines(path: str, layer: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(
            f"layer '{layer}': Failed to open source file: {path} ({error})", path=path
        ) from error
