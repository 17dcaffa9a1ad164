"""``usrnet kernel``: write a blur kernel to a file."""

from pathlib import Path
from typing import Annotated

import typer


def kernel(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC",
            help="delta, gaussian:WIDTH, gaussian:WIDTH1,WIDTH2,DEGREES, motion:SEED, bicubic, or a kernel file.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="File .png (16-bit), .npy, .mat or .txt.")],
    scale: Annotated[int, typer.Option(help="Move the kernel for this scale factor, as restore and degrade do.")] = 1,
) -> None:
    """Write a blur kernel to a file, or convert a kernel file."""
    from usrnet import kernels
    from usrnet.degradation import check_scale

    made = kernels.parse(spec, check_scale(scale))
    kernels.save(output, made)
    print(f"{output}: {made.shape[0]}×{made.shape[1]}")
