"""``usrnet kernel``: write a blur kernel to a file."""

import warnings
from pathlib import Path
from typing import Annotated

import typer

MENDING = ("align", "center", "background", "gamma")
MEASURING = ("from_stars", "from_beads", "from_edge")


def kernel(
    context: typer.Context,
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC",
            help="delta, gaussian:WIDTH, gaussian:WIDTH1,WIDTH2,DEGREES, motion:SEED, line:LENGTH,DEGREES, "
            "disk:RADIUS, moffat:FWHM,BETA, airy:RADIUS, bicubic, or a kernel file; a picture with --from-….",
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="File .png (16-bit), .npy, .npz, .mat, .txt, .csv, .tif or .fits.")
    ],
    scale: Annotated[
        int, typer.Option(help="Place a kernel that is given by its numbers for this scale; a file with --align.")
    ] = 1,
    align: Annotated[bool, typer.Option("--align", help="Place a centred kernel file for --scale.")] = False,
    center: Annotated[
        bool,
        typer.Option("--center", help="Move a file's centre of mass to its centre; FFT order and even sizes too."),
    ] = False,
    background: Annotated[
        str | None,
        typer.Option(metavar="auto|LEVEL", help="Take a background off a file; auto is the level of its border."),
    ] = None,
    gamma: Annotated[
        float | None, typer.Option(help="Raise a file's values to this power first; 2.2 undoes the coding of photos.")
    ] = None,
    from_stars: Annotated[
        bool, typer.Option("--from-stars", help="SPEC is a picture: the kernel is the mean of its stars.")
    ] = False,
    from_beads: Annotated[
        bool, typer.Option("--from-beads", help="The same for beads below the resolution of a microscope.")
    ] = False,
    from_edge: Annotated[
        str | None,
        typer.Option(metavar="BOX", help="SPEC is a picture with a straight edge in LEFT,TOP,WIDTH,HEIGHT."),
    ] = None,
) -> None:
    """Write a blur kernel to a file, mend or convert a kernel file, or measure a kernel in a picture."""
    from usrnet import kernels
    from usrnet.cli.usage import check_kernel_output, given, refuse
    from usrnet.degradation import check_scale
    from usrnet.errors import UsrnetError, UsrnetWarning

    check_scale(scale)
    mending, measuring = given(context, MENDING), given(context, MEASURING)
    if measuring:
        refuse(measuring[1:], reason=f"one kernel is measured at a time, and {measuring[0]} is given already")
        refuse(mending, reason=f"only for kernel files, and {measuring[0]} measures a kernel in a picture")
        check_kernel_output(output, Path(spec))
        measure(spec, output, scale, points="stars" if from_stars else "beads", box=from_edge)
        return
    check_kernel_output(output)
    file = kernels.split_index(spec)
    if file is None:
        refuse(mending, reason=f"only for kernel files, and {spec} is none")
        made = kernels.parse(spec, scale)
    else:
        with warnings.catch_warnings():
            if gamma is not None:  # then nobody has to be told of it
                warnings.filterwarnings("ignore", "(?s).* gamma-coded", UsrnetWarning)
            made = kernels.load_raw(file[0], index=file[1])
        if gamma is not None:
            if not 0 < gamma < 10:
                raise UsrnetError(f"gamma {gamma:g} is not a power between 0 and 10")
            made = made.clip(0) ** gamma
        if background is not None:
            made = kernels.subtract(made, _level(background))
        made = kernels.check(made, name=str(file[0]), quiet=True)
        made = kernels.center(made) if center else made
        made = kernels.from_file(made, spec, scale, align=align)
    kernels.save(output, made)
    print(f"{output}: {made.shape[0]}×{made.shape[1]}")


def _level(text: str) -> float | None:
    from usrnet.errors import UsrnetError

    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError as error:
        raise UsrnetError(f"background {text!r} is neither auto nor a level") from error


def measure(picture: str, output: Path, scale: int, *, points: str, box: str | None) -> None:
    """Write the kernel that a picture of stars, of beads or of an edge shows."""
    from usrnet import io, kernels
    from usrnet.errors import UsrnetError
    from usrnet.estimate.stars import psf_from_edge, psf_from_stars
    from usrnet.restoration.light import choose_curve

    source = io.read(Path(picture))
    light = io.split(source.pixels).colour
    curve = choose_curve("auto", **source.metadata.storage)
    if curve is not None:
        light = curve.decode(light)
    if box is None:
        psf = psf_from_stars(light, scale=scale, name=points)
        origin = f"{psf.count} of {psf.found} {points}"
    else:
        try:
            left, top, width, height = (int(number) for number in box.split(","))
        except ValueError as error:
            raise UsrnetError(f"the box {box!r} is not LEFT,TOP,WIDTH,HEIGHT in pixels") from error
        psf = psf_from_edge(light, (left, top, width, height), scale=scale)
        origin = "an edge"
    kernels.save(output, psf.kernel)
    side = "×".join(map(str, psf.kernel.shape))
    print(
        f"{output}: {side}, from {origin}, full width at half maximum {psf.fwhm:.2f} pixels of {Path(picture).name}"
    )
