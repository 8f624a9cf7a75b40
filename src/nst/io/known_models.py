"""The models that `nst` knows by name, and where their files are.

`models/known.json` is the table: for each name the file of weights, where it comes from, its size
and checksums, and how the model wants its pictures. Weights are looked for in the model's own
folder (small ones are shipped) and in the cache, which is the user's cache folder of the platform,
or `NST_CACHE`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nst.errors import FileError, WeightsError, did_you_mean
from nst.io.picture_transform import VGG_MEAN, PictureTransform

DIGESTS = ("md5", "sha1", "sha256")


@dataclass(frozen=True)
class KnownModel:
    """One entry of the table.

    `file` is the name of the weights' file, `bytes` its size (0 where unknown, for shipped ones),
    `digests` its checksums in hexadecimal by algorithm; `urls` are tried in order and empty if the
    weights are shipped.
    `folder` holds the model's net, under the name `net`, and the weights if they are shipped.
    `mean` is that of blue, green, red.
    """

    name: str
    file: str
    bytes: int
    digests: Mapping[str, str]
    folder: Path
    urls: tuple[str, ...] = ()
    description: str = ""
    license: str = ""
    mean: tuple[float, float, float] = VGG_MEAN
    net: str = ""

    @property
    def transform(self) -> PictureTransform:
        """How the model wants its pictures; all known models are Caffe's and take BGR."""
        return PictureTransform(mean=self.mean)

    @property
    def shipped_file(self) -> Path:
        """Where the weights are if they are shipped, or were put there by hand."""
        return self.folder / self.file


def locate_models() -> Path:
    """The folder of models: `nst/models` in an installed package, `models` in a source checkout."""
    package = Path(__file__).resolve().parents[1]
    candidates = (package / "models", package.parents[1] / "models")
    for folder in candidates:
        if (folder / "known.json").is_file():
            return folder
    looked = " or ".join(str(folder) for folder in candidates)
    raise FileError(f"the folder of models is missing (looked for known.json in {looked})")


def known_models(folder: Path | None = None) -> dict[str, KnownModel]:
    """Reads the table in `folder` (default: `locate_models()`); FileError if it is damaged."""
    folder = folder or locate_models()
    path = folder / "known.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {name: _model_of(folder, name, entry) for name, entry in table.items()}
    except OSError as error:
        raise FileError(f"cannot be read ({error.strerror or error})", path=str(path)) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FileError(f"not a table of models ({error!r})", path=str(path)) from error


def find_model(name: str) -> KnownModel:
    """The known model of that name; WeightsError with the nearest known name if there is none."""
    models = known_models()
    if name not in models:
        raise WeightsError(
            f"no known model is called {name!r} (known: {', '.join(models)})."
            + did_you_mean(name, models)
        )
    return models[name]


def cache_folder() -> Path:
    """Where fetched weights are kept: `NST_CACHE`, else the user's cache folder of the platform."""
    chosen = os.environ.get("NST_CACHE")
    if chosen:
        return _at_home(chosen)
    import platformdirs  # here: only what fetches or looks for weights needs it

    return platformdirs.user_cache_path("nst", False)


def cached_file(model: KnownModel, cache: Path | None = None) -> Path:
    """Where the weights of a model are, or will be, in the cache."""
    return (cache or cache_folder()) / model.name / model.file


def find_weights(name_or_path: str, beside: Path) -> Path:
    """Finds the weights that a command or a prototxt asks for.

    A path is taken relative to `beside` (the file that names it, or its folder), then to the
    working folder. The name of a known model, or of its file, is looked for beside as well, in the
    model's own folder, and in the cache. Raises WeightsError that gives the command which fetches
    them.
    """
    folder = beside if beside.is_dir() else beside.parent
    wanted = _at_home(name_or_path)
    if found := _first_file(folder / wanted, wanted):
        return found
    models = known_models()
    model = next((m for m in models.values() if name_or_path in (m.name, m.file)), None)
    if model is None:
        raise WeightsError(
            f"no such file of weights, and no known model of that name "
            f"(known: {', '.join(models)}).{did_you_mean(name_or_path, models)}",
            path=name_or_path,
        )
    if found := _first_file(folder / model.file, model.shipped_file, cached_file(model)):
        return found
    raise WeightsError(
        f"the weights of {model.name} are not on this machine. Run `nst weights fetch {model.name}` "
        f"({_megabytes(model.bytes)}), or put {model.file} into {folder}"
    )


def _first_file(*candidates: Path) -> Path | None:
    return next((path for path in candidates if _is_file(path)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for the system, or a folder that may not be entered
        return False


def _at_home(path: str) -> Path:
    # Path.expanduser raises for a user who is not there; this leaves the name as it is.
    return Path(os.path.expanduser(path))  # noqa: PTH111


def _model_of(models: Path, name: str, entry: Mapping[str, Any]) -> KnownModel:
    urls = entry.get("url") or ()
    blue, green, red = (float(value) for value in entry.get("mean") or VGG_MEAN)
    return KnownModel(
        name=name,
        file=_plain_name(entry["file"]),
        bytes=_size(entry, needed=bool(urls)),
        digests={kind: entry[kind].lower() for kind in DIGESTS if entry.get(kind)},
        folder=models / _plain_name(name),
        urls=(urls,) if isinstance(urls, str) else tuple(urls),
        description=entry.get("description") or "",
        license=entry.get("license") or "",
        mean=(blue, green, red),
        net=entry.get("net") or "",
    )


def _size(entry: Mapping[str, Any], *, needed: bool) -> int:
    size = entry.get("bytes") or 0
    if not isinstance(size, int) or size < (1 if needed else 0):
        raise ValueError(f"{size!r} is not a size in bytes")
    return size


def _plain_name(name: str) -> str:
    if not name or name in (".", "..") or Path(name).name != name:
        raise ValueError(f"{name!r} is not a plain file name")
    return name


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"
