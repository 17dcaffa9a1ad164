"""The table of known models: what each name means and where its weights come from.

Nothing here imports torch, so that ``usrnet models list`` answers at once.
"""

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from usrnet.errors import UsrnetError

RELEASE = "https://github.com/cszn/KAIR/releases/download/v1.0/"

DEFAULT_FILE = Path(__file__).with_name("default.safetensors")
"""The packaged weights. While this file is absent, ``default`` is the weight-free ``tv`` model."""

GAN_FILE = Path(__file__).with_name("default-gan.safetensors")
"""The packaged crisp weights, trained on from those of ``default``; without this file there is no ``default-gan``."""

DEFAULT_LICENCE = (
    "MIT; trained on photos of others: BSDS500 (non-commercial research and education) and Sun-Hays80 "
    "(its publisher's terms)"
)


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """One name that :func:`usrnet.load` understands.

    ``file`` is the published file name (None: nothing to download); ``sha256`` is None where no hash has been
    published, in which case only the structure of the file can be checked.
    """

    name: str
    summary: str
    parameters: int
    file: str | None = None
    sha256: str | None = None
    licence: str = "MIT"
    source: str = "this package"


def _official(name: str, file: str, summary: str, *, parameters: int, sha256: str | None = None) -> KnownModel:
    return KnownModel(
        name=name,
        summary=summary,
        parameters=parameters,
        file=file,
        sha256=sha256,
        source="KAIR release v1.0, https://github.com/cszn/KAIR",
    )


_FIXED = (
    KnownModel(name="tv", summary="total variation prior, no learned weights", parameters=0),
    _official("usrnet", "usrnet.pth", "official USRNet, for PSNR", parameters=17_016_016),
    _official("usrgan", "usrgan.pth", "official USRGAN, for perceived sharpness", parameters=17_016_016),
    _official(
        "usrnet-tiny",
        "usrnet_tiny.pth",
        "official small USRNet, for PSNR",
        parameters=590_332,
        sha256="d82929fc053d6bbe181adba9e2be3d23548eeca8b7b4232eb122f020352295cf",
    ),
    _official(
        "usrgan-tiny",
        "usrgan_tiny.pth",
        "official small USRGAN, for perceived sharpness",
        parameters=590_332,
        sha256="32a903c278ad807e58af09270e310ad03a5634f7ef995dc8eb5232d7c2558ef6",
    ),
)


def default_model() -> KnownModel:
    """What ``default`` means in this installation: the packaged weights, or ``tv`` while there are none."""
    if not DEFAULT_FILE.is_file():
        return KnownModel(
            name="default", summary="the same as tv: this version has no packaged weights", parameters=0
        )
    return _packaged("default", DEFAULT_FILE)


def packaged_file(name: str) -> Path | None:
    """The file of a model whose weights come with the package."""
    file = {"default": DEFAULT_FILE, "default-gan": GAN_FILE}.get(name)
    return file if file is not None and file.is_file() else None


def _packaged(name: str, file: Path) -> KnownModel:
    header = read_header(file)
    about = header.pop("__metadata__", {}).get("description", "USRNet trained for this package")
    count = sum(math.prod(entry["shape"]) for entry in header.values())
    return KnownModel(name=name, summary=f"packaged weights: {about}", parameters=count, licence=DEFAULT_LICENCE)


def read_header(path: Path) -> dict[str, Any]:
    """The JSON header of a .safetensors file: an entry per tensor, and ``__metadata__`` if there is any."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > path.stat().st_size:
            raise UsrnetError(f"{path} is truncated or damaged: fetch it again")
        return json.loads(file.read(size))


def known_models() -> Mapping[str, KnownModel]:
    """Every name that :func:`usrnet.load` understands, in the order in which to show them."""
    gan = [_packaged("default-gan", GAN_FILE)] if GAN_FILE.is_file() else []
    return {model.name: model for model in (default_model(), *gan, *_FIXED)}


def names() -> tuple[str, ...]:
    """The names of the known models."""
    gan = ["default-gan"] if GAN_FILE.is_file() else []
    return ("default", *gan, *(model.name for model in _FIXED))


def downloadable() -> tuple[KnownModel, ...]:
    """The models whose weights are published for download."""
    return tuple(model for model in _FIXED if model.file is not None)


def find(name: str) -> KnownModel:
    """The model called ``name``; raises :class:`UsrnetError` with the known names where there is none."""
    models = known_models()
    if name in models:
        return models[name]
    close = difflib.get_close_matches(name, models, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise UsrnetError(
        f"there is no model or file {name!r}: {hint}known names are {', '.join(models)}, "
        "anything else is the path of a weight file or a folder"
    )


def published_as(sha256: str) -> str | None:
    """The name of the official model whose file has this hash, if any."""
    return next((model.name for model in _FIXED if model.sha256 == sha256), None)
