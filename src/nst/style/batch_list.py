"""Lists of pictures to paint: a folder, a pattern, or a CSV file with options per row.

    folder or pattern     every picture in it, with the style of the settings or each of `styles`
    file.csv              a header row: `content`, `style`, `output`, and any option of a solver file

A CSV row is over the settings of the batch. Several styles of one row are separated by `|`, and so are their
`mask`, `style_mask` and `region`, in the same order, empty for a style without one. Other columns are
fields of the style block or of the solver, by name (`style_weight`, `size`, `preset`, `base_lr`, ...);
lists are separated by spaces (`sizes`: `256 512`). Paths in the file are relative to it. An empty cell sets
nothing.
"""

from __future__ import annotations

import csv
import glob
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nst.errors import FileError, NstError, UsageError, did_you_mean
from nst.io.frames import PICTURE_SUFFIXES
from nst.io.prototxt import parse_solver
from nst.proto import SolverParameter, StyleTransferParameter

_PER_STYLE = ("mask", "style_mask", "region")
_OWN = ("content", "style", "output", "content_mask", "keep_mask", *_PER_STYLE)
"""Columns with a meaning of their own; the others are options by name."""


@dataclass(frozen=True)
class BatchRow:
    """One picture to paint: what differs from the settings of the batch."""

    content: Path | None
    styles: tuple[Path, ...]
    output: Path | None
    """None: a name made of those of the pictures."""
    options: SolverParameter = field(default_factory=SolverParameter)
    masks: tuple[Mapping[str, str], ...] = ()
    """Per style the values of its fields `mask`, `style_mask` and `region`; none: no style has any."""
    where: str = ""
    """Where it stands, `list.csv:3`; the content's path if it is in no list."""


def read_batch(source: str, styles: Sequence[str] = ()) -> list[BatchRow]:
    """The rows of a folder, pattern or CSV file; with `styles` (files, folders, patterns) one per pair.

    Raises FileError or UsageError, naming the row.
    """
    paths = [path for name in styles for path in pictures_in(name)]
    if source.lower().endswith(".csv"):
        rows = _read_csv(Path(source))
    else:
        rows = [BatchRow(path, (), None, where=str(path)) for path in pictures_in(source)]
    if not paths:
        return rows
    return [replace(row, styles=(style,), output=None) for row in rows for style in paths]


def pictures_in(name: str) -> list[Path]:
    """The pictures of a folder or pattern in alphabetical order, or the one file of that name."""
    path = Path(name)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if _is_picture(p))
    elif path.is_file():
        return [path]
    else:
        matches = (Path(match) for match in glob.glob(name, recursive=True))  # noqa: PTH207
        found = sorted(p for p in matches if _is_picture(p))
    if not found:
        raise FileError("no picture there (expected a folder, a pattern or a file)", path=name)
    return found


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()


# ---- CSV ---------------------------------------------------------------------------------------


def _read_csv(path: Path) -> list[BatchRow]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = [(number, row) for number, row in _numbered(csv.reader(file)) if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"cannot be read ({error})", path=str(path)) from error
    if not table:
        raise FileError("an empty list (expected a header row and pictures)", path=str(path))
    names = [name.strip() for name in table[0][1]]
    _check_header(names, path)
    return [
        _row(f"{path}:{number}", path.parent, names, [cell.strip() for cell in cells])
        for number, cells in table[1:]
    ]


def _numbered(reader: object) -> list[tuple[int, list[str]]]:
    return [(reader.line_num, row) for row in reader]  # type: ignore[attr-defined]


def _check_header(names: list[str], path: Path) -> None:
    known = [*_OWN, *_option_names()]
    for name in names:
        if name not in known:
            raise UsageError(
                f"{path}:1: no such column (got {name!r}, expected content, style, output or an "
                f"option).{did_you_mean(name, known)}"
            )
    if len(set(names)) < len(names):
        raise UsageError(f"{path}:1: a column is there twice (got {', '.join(names)})")


def _row(where: str, folder: Path, names: list[str], cells: list[str]) -> BatchRow:
    if len(cells) > len(names):
        raise UsageError(f"{where}: too many cells (got {len(cells)}, expected {len(names)})")
    values = {name: cell for name, cell in zip(names, cells, strict=False) if cell}

    def path(text: str) -> Path:
        return folder / Path(text.strip()).expanduser()

    lists = {name: [part.strip() for part in cell.split("|")] for name, cell in values.items()}
    styles = tuple(path(part) for part in lists.get("style", ()))
    options = _options(where, {name: cell for name, cell in values.items() if name not in _OWN})
    block = options.style_transfer_param
    if "keep_mask" in values:
        block.keep_mask = str(path(values["keep_mask"]))
    if "content_mask" in values:
        block.content.mask = str(path(values["content_mask"]))
    return BatchRow(
        content=path(values["content"]) if "content" in values else None,
        styles=styles,
        output=path(values["output"]) if "output" in values else None,
        options=options,
        masks=_masks(where, lists, len(styles), path),
        where=where,
    )


def _masks(
    where: str, lists: Mapping[str, list[str]], styles: int, path: Callable[[str], Path]
) -> tuple[Mapping[str, str], ...]:
    """The fields of each style; UsageError where a column has not one part per style."""
    given = [name for name in _PER_STYLE if name in lists]
    for name in given:
        if len(lists[name]) != styles:
            raise UsageError(
                f"{where}: {name}: one for each style, separated by | (got {len(lists[name])}, expected "
                f"{styles})"
            )
    if not given:
        return ()
    return tuple(
        {
            name: lists[name][number] if name == "region" else str(path(lists[name][number]))
            for name in given
            if lists[name][number]
        }
        for number in range(styles)
    )


def _options(where: str, cells: dict[str, str]) -> SolverParameter:
    """Cells as the settings that they name."""
    result = SolverParameter()
    style = StyleTransferParameter.DESCRIPTOR.fields_by_name
    for name, cell in cells.items():
        in_style = name in style
        entry = style[name] if in_style else SolverParameter.DESCRIPTOR.fields_by_name[name]
        is_text = entry.cpp_type == entry.CPPTYPE_STRING
        text = " ".join(
            f"{name}: {_quoted(value) if is_text else value.upper() if entry.enum_type else value}"
            for value in ([cell] if is_text else cell.split())
        )
        try:
            parsed = parse_solver(f"style_transfer_param {{ {text} }}" if in_style else text)
        except NstError as error:
            raise UsageError(f"{where}: {name}: {_reason(error)} (got {cell!r})") from error
        result.MergeFrom(parsed)
    return result


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _reason(error: NstError) -> str:
    """An error of the text format without the place in the text that was made here."""
    return str(error).split(": ", 1)[-1]


def _option_names() -> list[str]:
    """Every plain field of the style block and of the solver."""
    fields = [
        *StyleTransferParameter.DESCRIPTOR.fields,
        *SolverParameter.DESCRIPTOR.fields,
    ]
    return [entry.name for entry in fields if entry.message_type is None]
