"""``usrnet demo``: restore a bundled picture and say what was gained."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the pictures.")] = Path("demo"),
    model: Annotated[str, typer.Option(help="Name or file of the model.")] = "default",
) -> None:
    """Degrade a bundled photo, restore it, write before and after, print the gain over bicubic in dB."""
    from usrnet.demo import run_demo

    result = run_demo(output, model=model)
    print(f"blurred by a camera-shake kernel, ×{result.scale} smaller, noise level {result.noise_level:g}: all known")
    print(f"bicubic enlargement  {result.psnr_bicubic:6.2f} dB")
    print(f"usrnet ({model}){' ' * max(1, 12 - len(model))}{result.psnr:6.2f} dB")
    print(f"gain                 {result.psnr - result.psnr_bicubic:+6.2f} dB")
    for path in result.files:
        print(path)
