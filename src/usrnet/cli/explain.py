"""``usrnet explain``: a figure of the unfolding at work."""

from pathlib import Path
from typing import Annotated

import typer


def explain(
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="The blurred, small, noisy picture.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The figure, a PNG file.")],
    scale: Annotated[int, typer.Option(help="Scale factor, 1 to 4.")] = 2,
    model: Annotated[str, typer.Option(help="Name or file of the model.")] = "default",
    kernel: Annotated[str | None, typer.Option(metavar="SPEC|auto", help="The blur, as for restore.")] = None,
    noise: Annotated[str, typer.Option(metavar="LEVEL|auto", help="Noise level, on the 0-255 scale.")] = "2",
    light: Annotated[
        str, typer.Option(help="auto (linear for what a camera took), linear (a lens blurred light) or stored.")
    ] = "auto",
    truth: Annotated[Path | None, typer.Option(help="The sharp picture; adds PSNR per iteration.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Draw what happens inside: z_k and x_k of every iteration, alpha_k and beta_k, PSNR if the truth is given."""
    from usrnet import io
    from usrnet.atomic import ensure_writable
    from usrnet.cli.usage import check_output
    from usrnet.errors import UsrnetError, require

    require("matplotlib", extra="viz")
    from usrnet.figures.drawing import render, save_png
    from usrnet.figures.unfolding import explain as draw
    from usrnet.restoration.light import check_light

    if output.suffix.lower() != ".png":
        raise UsrnetError(f"{output}: the figure is a PNG file, NAME.png")
    check_output(output, picture, truth)
    ensure_writable(output.parent)
    exact = None if truth is None else io.read(truth).pixels
    figure = draw(
        io.read(picture), model=model, scale=scale, kernel=kernel, noise_level=noise, light=check_light(light),
        truth=exact, device=device,
    )  # fmt: skip
    save_png(output, render(figure, dpi=110))
    print(output)
