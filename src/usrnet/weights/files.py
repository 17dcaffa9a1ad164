"""Weight files: safe reading, the architecture from the tensor shapes, writing.

Two formats are read: safetensors, and what ``torch.save`` writes (``.pth``, ``.pt``, ``.ckpt``), the latter
with ``weights_only=True`` only, so that no file can run code. The format is told by the content, never by
the name.
"""

import io
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from usrnet.atomic import write_bytes
from usrnet.errors import UsrnetError, UsrnetWarning
from usrnet.model import Config, USRNet

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
"""The names that weight files go by, in order of preference."""

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

# Under which key other programs keep the tensors; averaged weights first, because they are the better ones.
_WRAPPERS = (
    "params_ema", "ema", "model_ema", "params", "state_dict", "model_state_dict", "model", "net", "generator",
)  # fmt: skip

_USRNET_NAME = re.compile(
    r"(?P<prefix>(?:.*\.)?)(?P<name>p\.(?:\d+\.)?m_(?:head|down\d|body|up\d|tail|carry)\..+|h\.mlp\.\d+\.\w+)"
)

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Stored:
    """The content of a weight file: tensors under the published names, as stored, and what they say."""

    path: Path
    config: Config
    tensors: Tensors
    metadata: Mapping[str, str] = field(default_factory=dict)


def read(path: Path) -> Stored:
    """Read and check a weight file of any USRNet.

    The tensors keep their stored floating-point type. Raises :class:`UsrnetError` if the file is missing,
    damaged, wants to run code, belongs to another network, or has tensors that are missing, unexpected, of
    the wrong shape or not finite.
    """
    raw, metadata = _read_raw(path)
    tensors = _published_names(raw, path)
    config = infer_config(tensors, path)
    _check_shapes(tensors, config, path)
    _check_values(tensors, path)
    return Stored(path=path, config=config, tensors=tensors, metadata=metadata)


def build(stored: Stored) -> USRNet:
    """The model with these weights: float32, on the CPU, in evaluation mode."""
    # The random start is overwritten, so it must not move the random stream of the caller.
    with torch.random.fork_rng(devices=[]):
        model = USRNet(stored.config)
    model.load_state_dict({name: tensor.float() for name, tensor in stored.tensors.items()})
    return model.eval()


def summarise(config: Config) -> str:
    """A configuration in words, for messages and listings."""
    channels = "-".join(map(str, config.channels))
    own = ["features carried on"] * config.carry + ["weights of its own for every iteration"] * (not config.shared)
    return (
        f"USRNet with {config.n_iter} iterations, channels {channels}, {config.blocks} blocks per scale, "
        f"hidden {config.hidden}" + (f", {' and '.join(own)} (not in the published code)" if own else "")
    )


# --- reading ---


def _read_raw(path: Path) -> tuple[Tensors, Mapping[str, str]]:
    try:
        with path.open("rb") as file:
            start = file.read(9)
            size = file.seek(0, os.SEEK_END)
    except FileNotFoundError as error:
        raise UsrnetError(f"there is no file {path}") from error
    except OSError as error:
        raise UsrnetError(f"cannot read {path}: {error.strerror}") from error
    if not start:
        raise UsrnetError(f"{path} is empty: fetch it again")
    # First the length of a header that fits into the file: its own first byte may be that of a pickle.
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") < size:
        return _read_safetensors(path)
    if start.startswith((b"PK\x03\x04", b"\x80")):  # zip, or pickle as torch wrote it before version 1.6
        return _read_torch(path), {}
    if start[8:] == b"{":
        return _read_safetensors(path)  # which says that it is truncated
    raise UsrnetError(f"{path} is not a weight file: expected .safetensors, or .pth as torch.save writes it")


def _read_safetensors(path: Path) -> tuple[Tensors, Mapping[str, str]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise UsrnetError(f"{path} is truncated or damaged: fetch it again") from error


def _read_torch(path: Path) -> Tensors:
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on pickle versions just before it refuses them
            # As an open file: given a path, torch would choose the format by the suffix.
            content = torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise UsrnetError(_refusal(path, str(error))) from error
    # A damaged file can break the unpickler at any step: EOFError, KeyError, RuntimeError, struct.error, …
    except Exception as error:
        raise UsrnetError(f"{path} is truncated or damaged, or not a weight file: fetch it again") from error
    return _unwrap(content, path)


def _refusal(path: Path, message: str) -> str:
    wanted = re.search(r"GLOBAL ([\w.]+)", message)
    if wanted:
        return (
            f"{path} was not opened: it is a pickle that wants to run code ({wanted[1]}), and weight files "
            "need none; ask its author for a .safetensors file or a plain state dict"
        )
    return (
        f"{path} was not opened: it is damaged, or a pickle that holds other things than weights; fetch it "
        "again or ask its author for a .safetensors file"
    )


def _unwrap(content: Any, path: Path) -> Tensors:
    """Find the state dict in whatever another program saved around it."""
    candidates = list(_state_dicts(content))
    usrnets = [tensors for tensors in candidates if any(map(_USRNET_NAME.fullmatch, tensors))]
    for tensors in usrnets or candidates:
        return tensors
    found = f"found only {_few(content)}" if isinstance(content, Mapping) and content else "found none"
    raise UsrnetError(f"{path} holds no weights: expected tensors such as p.m_head.weight, {found}")


def _state_dicts(content: Any, depth: int = 4) -> Iterator[Tensors]:
    """Every dict of tensors, the better first; the depth is bounded, as a pickle can contain itself."""
    if not isinstance(content, Mapping) or depth == 0:
        return
    tensors = {str(name): value.detach() for name, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        yield tensors
    for key in _WRAPPERS:
        yield from _state_dicts(content.get(key), depth - 1)


def _published_names(raw: Tensors, path: Path) -> Tensors:
    """Drop what wrappers put before the names, for example ``module.`` of DataParallel.

    Tensors outside the prefix, such as a discriminator stored in the same file, are no part of the model.
    """
    matches = {name: _USRNET_NAME.fullmatch(name) for name in raw}
    prefixes = Counter(match["prefix"] for match in matches.values() if match)
    if not prefixes:
        raise UsrnetError(
            f"{path} holds the weights of another network: expected the tensors of a USRNet such as "
            f"p.m_head.weight and h.mlp.0.weight, found {_few(raw)}"
        )
    prefix = _only_prefix(prefixes, path)
    return {name[len(prefix) :]: tensor for name, tensor in raw.items() if name.startswith(prefix)}


def _only_prefix(prefixes: Counter[str], path: Path) -> str:
    if len(prefixes) == 1:
        return next(iter(prefixes))
    averaged = [prefix for prefix in prefixes if "ema" in prefix]
    if len(averaged) == 1:
        return averaged[0]
    raise UsrnetError(
        f"{path} holds several models, under {_few(repr(prefix) for prefix in prefixes)}: save the wanted one alone"
    )


# --- the architecture, from the shapes ---


def infer_config(tensors: Mapping[str, Tensor], path: Path) -> Config:
    """Read the sizes of the network from the shapes of a few tensors that fix them."""

    def size(name: str, axis: int, ndim: int = 4) -> int:
        if name not in tensors:
            raise UsrnetError(f"{path} is not a complete USRNet: the tensor {name} is missing")
        shape = tensors[name].shape
        if len(shape) != ndim or 0 in shape:
            raise UsrnetError(f"{path}: the tensor {name} is {_shape(shape)}, expected {ndim} sizes above 0")
        return shape[axis]

    rows = size("h.mlp.4.weight", 0)
    if rows % 2:
        raise UsrnetError(
            f"{path}: h.mlp.4.weight has {rows} rows, expected an even number: one α and one β per iteration"
        )
    shared = "p.0.m_head.weight" not in tensors
    prior, second = ("p", "p") if shared else ("p.0", "p.1")  # the first of several takes nothing
    body = f"{prior}.m_body."
    blocks = {name.removeprefix(body).split(".")[0] for name in tensors if name.startswith(body)}
    return Config(
        n_iter=rows // 2,
        channels=(
            size(f"{prior}.m_head.weight", 0),
            size(f"{prior}.m_up1.0.weight", 0),
            size(f"{prior}.m_up2.0.weight", 0),
            size(f"{prior}.m_up3.0.weight", 0),
        ),
        blocks=len(blocks),
        hidden=size("h.mlp.0.weight", 0),
        carry=f"{second}.m_carry.weight" in tensors,
        shared=shared,
    )


def _check_shapes(tensors: Mapping[str, Tensor], config: Config, path: Path) -> None:
    """Compare names and shapes with those of the network of this configuration, built without memory."""
    try:
        with torch.device("meta"):
            expected = {name: tensor.shape for name, tensor in USRNet(config).state_dict().items()}
    except (RuntimeError, ValueError) as error:
        raise UsrnetError(f"{path}: there is no such network as {summarise(config)}") from error
    missing = [name for name in expected if name not in tensors]
    if missing:
        raise UsrnetError(f"{path} lacks {_few(missing)} of a {summarise(config)}")
    extra = [name for name in tensors if name not in expected]
    if extra:
        raise UsrnetError(f"{path} has {_few(extra)}, unknown to a {summarise(config)}")
    wrong = [
        f"{name} ({_shape(tensors[name].shape)}, expected {_shape(shape)})"
        for name, shape in expected.items()
        if tensors[name].shape != shape
    ]
    if wrong:
        raise UsrnetError(f"{path} has tensors of the wrong shape for a {summarise(config)}: {_few(wrong)}")


def _check_values(tensors: Mapping[str, Tensor], path: Path) -> None:
    typed = [f"{name} ({tensor.dtype})" for name, tensor in tensors.items() if tensor.dtype not in FLOATS]
    if typed:
        raise UsrnetError(f"{path} holds weights that are not floating-point numbers: {_few(typed)}")
    # As float32, which is what the model computes with: a float64 value can be too large for it.
    bad = [name for name, tensor in tensors.items() if not tensor.float().isfinite().all()]
    if bad:
        raise UsrnetError(f"{path} holds values that are not finite (NaN or infinite) in {_few(bad)}")


def _shape(shape: torch.Size) -> str:
    return "×".join(map(str, shape)) or "a single number"


def _few(items: Iterable[object], limit: int = 4) -> str:
    listed = [str(item) for item in items]
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more


# --- writing ---


def save(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the weights of a USRNet, under the published names; the file appears whole or not at all.

    Parameters
    ----------
    model : torch.nn.Module
        A ``USRNet``.
    path : str or os.PathLike
        ``.safetensors``, which keeps the metadata, or ``.pth``, ``.pt``, ``.ckpt``, which the published code reads,
        and which keep none: a note says so.
    metadata : Mapping of str to str, optional
        What is to be known of the weights.
    overwrite : bool
        Whether an existing file is replaced.

    Returns
    -------
    pathlib.Path
        Where the file lies.

    Raises
    ------
    UsrnetError
        The model has no weights, the suffix is another, the folder is missing, or the file exists.

    Examples
    --------
    >>> import tempfile
    >>> import usrnet
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = usrnet.weights.save(usrnet.load("default"), f"{folder}/mine.safetensors", metadata={"from": "me"})
    ...     usrnet.weights.describe(path).metadata["from"]
    'me'
    """
    if not isinstance(model, USRNet):
        raise UsrnetError(f"only a USRNet has weights to save, not a {type(model).__name__}")
    tensors = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    return _write(tensors, Path(path), metadata=metadata or {}, overwrite=overwrite)


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write the weights of one file in the format of another suffix; every tensor stays equal bit by bit.

    Wrappers and prefixes such as ``module.`` are dropped.

    Parameters
    ----------
    source, target : str or os.PathLike
        The files.
    overwrite : bool
        Whether an existing file is replaced.

    Returns
    -------
    pathlib.Path
        ``target``.

    Raises
    ------
    UsrnetError
        As :func:`usrnet.load` and :func:`save`.

    Examples
    --------
    >>> import tempfile
    >>> import usrnet
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     usrnet.weights.save(usrnet.load("default"), f"{folder}/mine.pth").name
    ...     usrnet.weights.convert(f"{folder}/mine.pth", f"{folder}/mine.safetensors").name
    'mine.pth'
    'mine.safetensors'
    """
    target = Path(target)
    _check_target(target, overwrite=overwrite)
    stored = read(weight_file(Path(source)))
    return _write(stored.tensors, target, metadata=stored.metadata, overwrite=overwrite)


def weight_file(path: Path) -> Path:
    """``path``, or the one weight file in it if it is a folder, where ``model.safetensors`` comes first."""
    if not path.is_dir():
        return path
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    preferred = path / "model.safetensors"
    if preferred in found:
        return preferred
    if not found:
        raise UsrnetError(f"the folder {path} holds no weight file ({', '.join(SUFFIXES)})")
    if len(found) > 1:
        raise UsrnetError(
            f"the folder {path} holds several weight files, {_few(file.name for file in found)}: name one of them"
        )
    return found[0]


def _check_target(path: Path, *, overwrite: bool) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise UsrnetError(f"cannot write {path}: the suffix must be one of {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise UsrnetError(f"cannot write {path}: it is a folder")
    if path.exists() and not overwrite:
        raise UsrnetError(f"{path} exists already: choose another name or ask to overwrite it")
    if not path.parent.is_dir():
        raise UsrnetError(f"cannot write {path}: there is no folder {path.parent}")


def _write(tensors: Tensors, path: Path, *, metadata: Mapping[str, str], overwrite: bool) -> Path:
    _check_target(path, overwrite=overwrite)
    if path.suffix.lower() == ".safetensors":
        _atomically(path, lambda: _safetensors_bytes(tensors, metadata))
    else:
        if lost := sorted(set(metadata) - {"format"}):
            warnings.warn(
                f"{path} keeps no metadata ({_few(lost)}): only .safetensors can",
                UsrnetWarning,
                stacklevel=3,
            )
        _atomically(path, lambda: _torch_bytes(tensors))
    return path


def _safetensors_bytes(tensors: Tensors, metadata: Mapping[str, str]) -> bytes:
    text = {"format": "pt", **{str(key): str(value) for key, value in metadata.items()}}
    # Clones, because safetensors refuses tensors that share memory.
    return safetensors.torch.save(
        {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}, text
    )


def _torch_bytes(tensors: Tensors) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    return buffer.getvalue()


def _atomically(path: Path, content: Callable[[], bytes]) -> None:
    try:
        write_bytes(path, content())
    except OSError as error:
        raise UsrnetError(f"cannot write {path}: {error.strerror}") from error
