"""``usrnet export``: a model as an ONNX file."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name or file of the model.")],
    scale: Annotated[int, typer.Option(help="Scale factor, 1 to 4; a file serves one.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .onnx file to write.")],
    opset: Annotated[int, typer.Option(help="Version of the operators, 18 to 23.")] = 18,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Write the whole network as ONNX, for onnxruntime and browsers, and check it against torch.

    The size of the picture, of the kernel and of the batch are free. Needs usrnet[export].
    """
    from usrnet.errors import UsrnetError, require

    require("onnxruntime", extra="export")
    if output.exists() and not overwrite:
        raise UsrnetError(f"{output} exists already: choose another name or add --overwrite")
    from usrnet.export import to_onnx, verify
    from usrnet.model import USRNet
    from usrnet.weights import load

    path = to_onnx(model, output, scale=scale, opset=opset)
    network = load(model)
    assert isinstance(network, USRNet)
    largest = max(difference.largest for difference in verify(network, path))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, opset {opset}, differs from torch by at most {largest:.1e}")
