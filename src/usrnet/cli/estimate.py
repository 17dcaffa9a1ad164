"""``usrnet estimate``: the blur and the noise of pictures."""

import json
from pathlib import Path
from typing import Annotated

import typer


def estimate(
    inputs: Annotated[list[str], typer.Argument(metavar="IN...", help="Pictures, globs or folders.")],
    scale: Annotated[int, typer.Option(help="The factor by which they are to be enlarged, 1 to 4.")] = 2,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="KERNEL", help="Write the kernel of one picture.")
    ] = None,
    light: Annotated[
        str, typer.Option(help="In what the blur is looked for, as restore has it: auto, linear or stored.")
    ] = "auto",
    shake: Annotated[
        bool | None,
        typer.Option(
            "--shake/--no-shake",
            help="Look for the kernel of camera shake; some seconds. [at --scale 1 where it looks shaken]",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per picture.")] = False,
) -> None:
    """Find the blur and the noise of pictures, as `restore --kernel auto --noise auto` does.

    Widths are in pixels of the enlarged picture. Confidence 1: seen clearly; 0: nothing was seen, these are the
    defaults.
    """
    import sys

    from usrnet import kernels
    from usrnet.cli.usage import check_kernel_output
    from usrnet.degradation import check_scale
    from usrnet.errors import PictureError, UsrnetError
    from usrnet.estimate import Shake, estimate_file, noise_to_feed
    from usrnet.restoration.jobs import find_pictures
    from usrnet.restoration.light import check_light

    check_scale(scale)
    in_light = check_light(light)
    in_shake: Shake = "auto" if shake is None else "try" if shake else "off"
    paths = [path for path, _ in find_pictures(inputs)]
    if output is not None and len(paths) != 1:
        raise UsrnetError(f"{output} is for one kernel, but there are {len(paths)} pictures")
    if output is not None:
        check_kernel_output(output, *paths)
    failures = 0
    for path in paths:
        try:
            found = estimate_file(path, scale=scale, light=in_light, shake=in_shake)
        except PictureError as error:
            print(f"usrnet: {error}", file=sys.stderr)
            failures += 1
            continue
        if output is not None:
            kernels.save(output, found.kernel)
        if as_json:
            print(json.dumps({"input": str(path), **found.record()}, ensure_ascii=False), flush=True)
        else:
            print(f"{path}: {found}")
            spec = found.text or output
            if spec is None:
                print("    -o KERNEL writes the kernel of the shake to a file")
            else:
                print(f"    --scale {scale} --kernel {spec} --noise {noise_to_feed(found.noise_level):.1f}")
    if failures:
        raise typer.Exit(1)
