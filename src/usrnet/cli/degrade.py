"""``usrnet degrade``: blur, decimate and add noise to a picture, as the model assumes it happened."""

from pathlib import Path
from typing import Annotated

import typer


def degrade(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The sharp picture.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The degraded picture.")],
    scale: Annotated[int, typer.Option(help="Decimation factor, 1 to 4.")],
    kernel: Annotated[str, typer.Option(help="The blur, as in `usrnet restore`.")],
    noise: Annotated[float, typer.Option(help="Noise level, on the 0-255 scale.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise.")] = 0,
) -> None:
    """Blur a picture with a kernel, keep every s-th pixel and add noise: y = (x ⊗ k)↓s + n."""
    from usrnet import degrade as degrade_picture
    from usrnet import io
    from usrnet.cli.usage import before_any_picture, check_output

    check_output(output, source)
    with before_any_picture():
        io.kind_of(output)
    picture = io.read(source)
    pixels = degrade_picture(picture.pixels, kernel, scale=scale, noise_level=noise, seed=seed)
    io.write(output, io.result_of(picture, pixels, 1 / scale))
