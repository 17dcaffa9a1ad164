"""``USRNet`` → ONNX: one scale per file; height, width, kernel and batch are free.

Inputs ``picture`` N×3×h×w in [0,1], ``kernel`` N×{1,3}×kh×kw (N = 1 serves the batch) and ``sigma`` N×1×1×1 in [0,1];
output ``restored`` N×3×sh×sw, not clipped; all float32. As the model itself it is circular: extend pictures first.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path

from torch import nn

from usrnet import __version__
from usrnet.atomic import write_bytes
from usrnet.degradation import check_scale
from usrnet.errors import UsrnetError, require
from usrnet.model import USRNet
from usrnet.weights import describe, load

DEFAULT_OPSET = 18
OPSETS = range(18, 24)


def to_onnx(
    model: nn.Module | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    scale: int,
    opset: int = DEFAULT_OPSET,
) -> Path:
    """Write a model as ONNX for one scale factor; the file appears whole or not at all.

    Sizes, scale, licence and source are in the file's metadata (``usrnet.*``).

    Parameters
    ----------
    model : torch.nn.Module, str or os.PathLike
        A :class:`USRNet`, or a name or file for :func:`usrnet.load`.
    path : str or os.PathLike
        Where to, ``NAME.onnx``.
    scale : int
        1 to 4.
    opset : int
        The version of ONNX's operators, 18 to 23; an old runtime may know few.

    Returns
    -------
    pathlib.Path
        Where the file lies.

    Raises
    ------
    UsrnetError
        The model is no ``USRNet``, the opset is not offered, the place cannot be written, or the extra ``export`` is
        missing.

    Examples
    --------
    >>> import tempfile
    >>> import usrnet
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     usrnet.export.to_onnx("default", f"{folder}/usrnet_x2.onnx", scale=2).name
    'usrnet_x2.onnx'
    """
    require("onnx", extra="export")
    target = Path(path)
    if target.suffix.lower() != ".onnx":
        raise UsrnetError(f"{target}: the file is an ONNX file, NAME.onnx")
    if not target.parent.is_dir():
        raise UsrnetError(f"cannot write {target}: there is no folder {target.parent}")
    check_scale(scale)
    if opset not in OPSETS:
        raise UsrnetError(
            f"opset {opset} is not offered: choose {OPSETS.start} to {OPSETS.stop - 1}; for a runtime that knows "
            f"older ones only, take a newer runtime (onnxruntime 1.14 and later know {OPSETS.start})"
        )
    from usrnet.export.graph import build

    network = model if isinstance(model, nn.Module) else load(model)
    if not isinstance(network, USRNet):
        raise UsrnetError(f"only a USRNet can be exported, not {_name(model)}: it has no weights")
    proto = build(network, scale, opset)
    about = describe(model)
    metadata = {
        "version": __version__,
        "model": about.name if isinstance(model, str) and not Path(model).exists() else Path(about.name).stem,
        "scale": scale,
        "config": json.dumps(asdict(network.config)),
        "licence": about.licence,
        "source": about.source,
        "sha256": about.sha256,
        "picture": "N×3×h×w in [0,1]; wraps around: extend it and crop the result",
        "kernel": "N×1×kh×kw or N×3×kh×kw, sums to 1, centred at (kh // 2, kw // 2)",
        "sigma": "N×1×1×1, standard deviation of the noise in [0,1]",
        "restored": f"N×3×{scale}h×{scale}w, not clipped",
    }
    for key, value in metadata.items():
        if value is not None:
            entry = proto.metadata_props.add()
            entry.key, entry.value = f"usrnet.{key}", str(value)
    try:
        write_bytes(target, proto.SerializeToString())
    except OSError as error:
        raise UsrnetError(f"cannot write {target}: {error.strerror}") from error
    return target


def _name(model: nn.Module | str | os.PathLike[str]) -> str:
    return type(model).__name__ if isinstance(model, nn.Module) else repr(os.fspath(model))
