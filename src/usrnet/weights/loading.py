"""From a name or a file to a model, and to a description of it."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from usrnet.errors import UsrnetError, require
from usrnet.model import CONFIGS, Config, Unfolding, total_variation
from usrnet.weights import download, files, registry


@dataclass(frozen=True, kw_only=True)
class Info:
    """What is known of a model.

    ``where`` is "packaged", "built in", "cached", "not downloaded", "file" or "memory"; ``config`` is None
    for a model that is no USRNet; ``parameters`` counts the learned numbers; ``sha256`` is that of the file
    at ``path`` or, before a download, the published one; ``published`` names the official model whose file
    has this hash; ``licence`` and ``source`` are None for files that are not known.
    """

    name: str
    where: str
    parameters: int
    path: Path | None = None
    config: Config | None = None
    sha256: str | None = None
    published: str | None = None
    licence: str | None = None
    source: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def architecture(self) -> str:
        """The architecture in words."""
        return files.summarise(self.config) if self.config else "unfolding without learned weights"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        values = {key: getattr(self, key) for key in self.__dataclass_fields__}
        return values | {
            "architecture": self.architecture,
            "path": str(self.path) if self.path else None,
            "config": asdict(self.config) if self.config else None,
            "metadata": dict(self.metadata),
        }


def load(source: str | os.PathLike[str]) -> Unfolding:
    """The model called ``source``, or with the weights that lie there: float32, CPU, evaluation mode.

    ``source`` is a name (``default``, ``tv``, ``usrnet``, ``usrgan``, ``usrnet-tiny``, ``usrgan-tiny``), a model of
    the Hugging Face Hub (``hf:OWNER/NAME`` or ``hf:OWNER/NAME@REVISION``, needs ``usrnet[hub]``), a file
    (``.safetensors``, or ``.pth``, ``.pt``, ``.ckpt`` with nothing but weights in it) or a folder with one such file.
    A known name is taken as a name; write ``./tv`` for a file called so. The architecture is read from the tensor
    shapes. Official weights that the cache lacks are downloaded and checked.

    The model maps ``(lr, kernel, scale, sigma)``, N×3×h×w, N×{1,3}×kh×kw, int, N×1×1×1 with σ in [0, 1], to
    N×3×sh×sw. Raises :class:`UsrnetError`, one sentence, if there is no such model, or the file is damaged,
    unsafe or of another network.
    """
    path = _weights_of(source)
    return total_variation().eval() if path is None else files.build(files.read(path))


def describe(source: str | os.PathLike[str] | nn.Module) -> Info:
    """What is known of a model, by name, by file or in memory; nothing is downloaded for it.

    Raises :class:`UsrnetError` as :func:`load`.
    """
    if isinstance(source, nn.Module):
        config = getattr(source, "config", None)
        return Info(
            name=type(source).__name__,
            where="memory",
            parameters=sum(tensor.numel() for tensor in source.parameters()),
            config=config if isinstance(config, Config) else None,
        )
    model = _known(source)
    if model is None and (name := _on_hub(source)):
        require("huggingface_hub", extra="hub")
        from usrnet.weights import hub

        path = hub.cached(name)
        if path is None:
            raise UsrnetError(f"{name} has not been downloaded yet: the first use of the model does so")
        return _describe_file(path, name=name, where="cached")
    if model is None:
        path = files.weight_file(_existing(source))
        return _describe_file(path, name=str(source), where="file")
    if model.file is not None:
        return _describe_official(model)
    if packaged := registry.packaged_file(model.name):
        return _describe_file(packaged, name=model.name, where="packaged")
    return Info(
        name=model.name,
        where="built in",
        parameters=model.parameters,
        licence=model.licence,
        source=model.source,
    )


def _weights_of(source: str | os.PathLike[str]) -> Path | None:
    """The weight file behind a name or a path; None for the model that needs none."""
    model = _known(source)
    if model is None and (name := _on_hub(source)):
        require("huggingface_hub", extra="hub")
        from usrnet.weights import hub

        return hub.download(name)
    if model is None:
        return files.weight_file(_existing(source))
    if model.file is not None:
        return download.fetch(model.name)
    return registry.packaged_file(model.name)


def _known(source: str | os.PathLike[str]) -> registry.KnownModel | None:
    """The known model of this name; a Path object is always a path."""
    return registry.find(source) if isinstance(source, str) and source in registry.names() else None


def _on_hub(source: str | os.PathLike[str]) -> str | None:
    """The name of a model of the Hugging Face Hub, if it is one."""
    return source if isinstance(source, str) and source.startswith("hf:") else None


def _existing(source: str | os.PathLike[str]) -> Path:
    text = os.fspath(source)
    path = Path(text).expanduser()
    if path.exists():
        return path
    if path.suffix.lower() in files.SUFFIXES or path.name != str(text):
        raise UsrnetError(f"there is no file or folder {path}")
    registry.find(str(text))  # raises and lists the names, which is what the user wants to see
    raise UsrnetError(f"there is no file or folder {path}")


def _describe_official(model: registry.KnownModel) -> Info:
    path = download.cached_path(model)
    if path.exists():
        download.check(model, path)
        return _describe_file(path, name=model.name, where="cached")
    return Info(
        name=model.name,
        where="not downloaded",
        parameters=model.parameters,
        config=CONFIGS[model.name],
        sha256=model.sha256,
        published=model.name if model.sha256 else None,
        licence=model.licence,
        source=model.source,
    )


def _describe_file(path: Path, *, name: str, where: str) -> Info:
    stored = files.read(path)
    sha256 = download.file_sha256(path)
    published = registry.published_as(sha256)
    known = registry.known_models().get(published or name)
    return Info(
        name=name,
        where=where,
        path=path,
        config=stored.config,
        parameters=sum(tensor.numel() for tensor in stored.tensors.values()),
        sha256=sha256,
        published=published,
        licence=known.licence if known else None,
        source=known.source if known else None,
        metadata=stored.metadata,
    )
