"""Names of regions: what layers, losses and messages call the part of the picture that a style is in."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nst.proto import StyleTerm
from nst.style.augment_regions import OF_THE_STYLE

REST = "rest"
RESERVED = frozenset((REST, "content", OF_THE_STYLE, "painted"))
"""Names that masks of other meaning have in the net."""


def region_names(styles: Sequence[StyleTerm], *, keeps: bool = False) -> list[str]:
    """The region of each style, by name; all empty if the styles are for the whole picture.

    keeps: whether part of the picture is kept, so that the whole picture is `rest`.
    """
    if not any(style.mask for style in styles) and not keeps:
        return [""] * len(styles)
    names: dict[tuple[str, str], str] = {("", ""): REST}
    keys = [(style.mask, style.region) if style.mask else ("", "") for style in styles]
    for mask, region in keys:
        stem = re.split(r"[\\/]", mask)[-1].rsplit(".", 1)[0]
        plain = re.sub(r"[^A-Za-z0-9-]+", "-", region or stem).strip("-") or "region"
        taken = RESERVED.union(names.values())
        names.setdefault((mask, region), _unused(plain, taken))
    return [names[key] for key in keys]


def _unused(name: str, taken: frozenset[str]) -> str:
    number, found = 2, name
    while found in taken:
        found, number = f"{name}-{number}", number + 1
    return found
