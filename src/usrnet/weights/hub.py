"""Models on the Hugging Face Hub: a repository with ``model.safetensors``, ``config.json`` and a model card.

What ``config.json`` says is for people and other programs; here the architecture is read from the tensors, as of
every file. ``hf:OWNER/NAME`` and ``hf:OWNER/NAME@REVISION`` name a model of the hub wherever a model is named.
"""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData, ModelHubMixin, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from usrnet.errors import UsrnetError
from usrnet.model import USRNet
from usrnet.weights import files

PREFIX = "hf:"
FILE = "model.safetensors"
TAGS = ["image-super-resolution", "image-deblurring", "image-restoration", "deep-unfolding"]
CARD = """\
---
{{ card_data }}
---

# {{ name }}

{{ description }}

Non-blind super-resolution and deblurring with the deep unfolding network USRNet ([Zhang, Van Gool, Timofte, CVPR
2020](https://arxiv.org/abs/2003.10428)): one set of weights for the scale factors 1 to 4, every blur kernel and every
noise level. {{ architecture }}, {{ parameters }} parameters.

## Use

```python
import usrnet

restored = usrnet.restore(image, model="hf:{{ name }}", scale=4, kernel="gaussian:1.6", noise_level=2)
model = usrnet.USRNet.from_pretrained("{{ name }}")  # tensors: model(lr, kernel, scale, sigma)
```

or `usrnet restore photo.jpg --scale 4 --model hf:{{ name }}`. The file is safetensors and runs no code; `usrnet
models convert` writes it as the `.pth` of the published code.

## Training

{{ training }}

## Results

{{ results }}

## Limits

The blur and the noise must be known, or found first; a wrong kernel gives ringing or a soft picture.
"""
MISSING = "Not said."
NOT_FETCHED = (
    "it is not in the cache, and the hub does not answer: check the connection, or fetch "
    f"{FILE} by hand and give its path"
)


class Shared(ModelHubMixin, library_name="usrnet", paper_url="https://arxiv.org/abs/2003.10428"):
    """What the hub's own methods save and load: a ``USRNet``."""

    def __init__(self, model: USRNet) -> None:
        self.model = model

    def _save_pretrained(self, save_directory: Path) -> None:
        files.save(self.model, save_directory / FILE, overwrite=True)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, revision: str | None, **options: Any) -> "Shared":
        if os.path.isdir(model_id):  # noqa: PTH112, a name of the hub is no path
            return cls(files.build(files.read(files.weight_file(Path(model_id)))))
        options = {key: options[key] for key in ("cache_dir", "force_download", "local_files_only", "token")}
        return cls(files.build(files.read(Path(hf_hub_download(model_id, FILE, revision=revision, **options)))))

    def generate_model_card(
        self,
        *,
        name: str = "OWNER/NAME",
        licence: str | None = None,
        description: str = "",
        training: str = MISSING,
        results: str = MISSING,
        **more: Any,
    ) -> ModelCard:
        """The card of this model; the texts are Markdown, ``more`` is for its head (``datasets``, ``language``)."""
        data = ModelCardData(
            library_name="usrnet", pipeline_tag="image-to-image", tags=TAGS, license=licence, **more
        )  # fmt: skip
        return ModelCard.from_template(
            data,
            template_str=CARD,
            name=name,
            description=description,
            architecture=files.summarise(self.model.config),
            parameters=f"{sum(tensor.numel() for tensor in self.model.parameters()):,}",
            training=training,
            results=results,
        )


def save_pretrained(model: USRNet, folder: str | os.PathLike[str], **card: Any) -> None:
    """``model.safetensors``, ``config.json`` and, if there is none yet, ``README.md`` in a folder, made if missing.

    ``card``: of ``Shared.generate_model_card``. Raises ``UsrnetError`` when it cannot be written.
    """
    try:
        Shared(model).save_pretrained(Path(folder), config=asdict(model.config), model_card_kwargs=card)
    except OSError as error:
        raise UsrnetError(f"cannot write {os.fspath(folder)}: {error.strerror or error}") from error


def push_to_hub(model: USRNet, name: str, *, card: dict[str, Any], **options: Any) -> str:
    """Write the same to the repository OWNER/NAME of the hub, made if missing; returns the address of the commit.

    ``options``: of huggingface_hub, such as ``private``, ``token``, ``branch``, ``create_pr``, ``commit_message``.
    """
    with _sentences(name, unanswered="nothing answers, so nothing was pushed: check the connection"):
        return Shared(model).push_to_hub(
            name, config=asdict(model.config), model_card_kwargs={"name": name, **card}, **options
        )


def from_pretrained(name: str | os.PathLike[str], **options: Any) -> USRNet:
    """The model in a folder or in the repository OWNER/NAME of the hub; ``options`` as ``revision``, ``token``."""
    with _sentences(os.fspath(name)):
        return Shared.from_pretrained(os.fspath(name), **options).model


def download(name: str) -> Path:
    """The local file of ``hf:OWNER/NAME``, downloaded if the hub's cache lacks it. Raises ``UsrnetError``."""
    repository, revision = _parse(name)
    with _sentences(repository):
        return Path(hf_hub_download(repository, FILE, revision=revision))


def cached(name: str) -> Path | None:
    """The local file of ``hf:OWNER/NAME`` if it has been downloaded."""
    repository, revision = _parse(name)
    with _sentences(repository):
        found = try_to_load_from_cache(repository, FILE, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _parse(name: str) -> tuple[str, str | None]:
    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    if repository.count("/") != 1:
        raise UsrnetError(f"{name!r} is not a model of the hub: write hf:OWNER/NAME or hf:OWNER/NAME@REVISION")
    return repository, revision or None


class _sentences:  # noqa: N801, read as a word
    """The errors of the hub as one sentence; ``unanswered``: what is said when none comes from there."""

    def __init__(self, name: str, *, unanswered: str = NOT_FETCHED) -> None:
        self.name = name
        self.unanswered = unanswered

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None or isinstance(error, UsrnetError):
            return
        reason = self._reason(error)
        if reason:
            raise UsrnetError(f"the hub's {self.name!r}: {reason}") from error

    def _reason(self, error: BaseException) -> str | None:
        if isinstance(error, HFValidationError):
            return "not a name of the hub: write OWNER/NAME"
        if isinstance(error, RepositoryNotFoundError):
            return "there is no such repository, or it is private: check the name, or log in with `hf auth login`"
        if isinstance(error, RevisionNotFoundError):
            return "it has no such revision"
        if isinstance(error, LocalEntryNotFoundError) or _is_transport(error):
            return self.unanswered
        if isinstance(error, EntryNotFoundError):
            return f"it holds no {FILE}"
        if isinstance(error, HfHubHTTPError):
            status = error.response.status_code
            hint = ": log in with `hf auth login`, or give a token that may do this" if status in (401, 403) else ""
            return f"the hub answered {status} {error.response.reason_phrase}{hint}"
        if isinstance(error, OSError):
            return f"cannot be saved: {error.strerror or error}"
        return None


def _is_transport(error: BaseException) -> bool:
    """Whether nothing was answered; which HTTP library says so depends on the version of huggingface_hub."""
    return type(error).__module__.startswith("httpx") or isinstance(error, ConnectionError)
