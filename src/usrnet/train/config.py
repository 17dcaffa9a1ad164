"""The configuration of a training run: one TOML file, validated."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from usrnet.degradation import SCALES
from usrnet.errors import UsrnetError
from usrnet.model import CONFIGS
from usrnet.model import Config as Sizes

RECIPES = Path(__file__).with_name("recipes")

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(Section):
    """What is trained, and from where: ``init`` is ``"identity"`` or a name or file that ``usrnet.load`` takes."""

    architecture: str = "usrnet-tiny"
    n_iter: Positive | None = None
    channels: tuple[Positive, Positive, Positive, Positive] | None = None
    blocks: Positive | None = None
    hidden: Positive | None = None
    init: str = "identity"

    @model_validator(mode="after")
    def _known(self) -> "Model":
        if self.architecture not in CONFIGS:
            raise ValueError(f"architecture {self.architecture!r} is not known: choose one of {', '.join(CONFIGS)}")
        return self

    def sizes(self) -> Sizes:
        """The sizes of the architecture, with those that are given in place of its own."""
        base = CONFIGS[self.architecture]
        return Sizes(
            n_iter=self.n_iter or base.n_iter,
            channels=self.channels or base.channels,
            blocks=self.blocks or base.blocks,
            hidden=self.hidden or base.hidden,
        )


class Data(Section):
    """The photos and how they are cut. ``batch`` counts all devices, ``micro`` one forward pass of one device."""

    folders: Annotated[list[str], Field(min_length=1)]
    patch: Positive = 96
    batch: Positive = 48
    micro: Positive | None = None
    resident: bool | Literal["auto"] = "auto"
    workers: Annotated[int, Field(ge=0)] = 2


class Degradations(Section):
    """Scales (one per batch), noise levels (0–255 scale) and rounding to 8 bits before the noise."""

    scales: Annotated[list[int], Field(min_length=1)] = [1, 2, 3, 4]
    noise: tuple[Annotated[float, Field(ge=0, le=255)], Annotated[float, Field(ge=0, le=255)]] = (0.0, 25.0)
    noiseless: Share = 1 / 9
    rounded: Share = 0.0
    truncated: Share = 0.0

    @model_validator(mode="after")
    def _sensible(self) -> "Degradations":
        for scale in self.scales:
            if scale not in SCALES:
                raise ValueError(f"scale {scale} is not supported: choose from 1, 2, 3, 4")
        if self.noise[0] > self.noise[1]:
            raise ValueError(f"noise goes from {self.noise[0]} to {self.noise[1]}: write the smaller level first")
        if self.rounded + self.truncated > 1:
            raise ValueError("rounded and truncated are shares of all samples: together at most 1")
        return self


class Kernels(Section):
    """How often each family of kernels is drawn, relative to the others. With ``files`` only those are drawn.

    Gaussian widths are log-uniform in ``widths``; a share ``isotropic`` is round; a share ``aligned`` is moved by
    (s−1)/2, as for a real picture.
    """

    motion: Annotated[float, Field(ge=0)] = 0.5
    gaussian: Annotated[float, Field(ge=0)] = 0.5
    bicubic: Annotated[float, Field(ge=0)] = 0.0
    size: Annotated[int, Field(ge=5, le=255)] = 25
    widths: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.4, 3.2)
    isotropic: Share = 0.0
    aligned: Share = 0.0
    files: list[str] = []

    @model_validator(mode="after")
    def _something(self) -> "Kernels":
        if not self.files and self.motion + self.gaussian + self.bicubic == 0:
            raise ValueError("motion, gaussian and bicubic are all 0: no kernel could be drawn")
        if self.widths[0] > self.widths[1]:
            raise ValueError("widths: write the smaller one first")
        return self


class Optimiser(Section):
    name: Literal["adam", "adamw", "muon"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 1e-4
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Annotated[float, Field(gt=0)] | None = None
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    loss: Literal["l1", "l2"] = "l1"


class Schedule(Section):
    """The learning rate over the steps.

    ``halving``: halved every ``halve_every`` steps, not below ``lr_min``. ``cosine``: to ``lr_min`` at the last step.
    ``trapezoid``: constant, and linear to ``lr_min`` over the last share ``decay`` of the steps.
    """

    kind: Literal["halving", "cosine", "trapezoid"] = "halving"
    steps: Positive = 300_000
    warmup: Annotated[int, Field(ge=0)] = 0
    halve_every: Positive = 40_000
    lr_min: Annotated[float, Field(ge=0)] = 3e-6
    decay: Share = 0.2


class Validation(Section):
    """A fixed set: ``photos`` pictures of ``folder`` (of the training photos if absent, which then never train)."""

    every: Positive = 1000
    folder: str | None = None
    photos: Positive = 6
    crop: Positive = 192
    kernels: list[str] = ["gaussian:1.2", "gaussian:2.6,1.3,30", "motion:3", "motion:16"]
    scales: list[int] = [2, 3, 4]
    noise: list[float] = [0.0, 7.65]


class Run(Section):
    """Where and how: folder of the run, hardware, logs and checkpoints."""

    output: str
    seed: Annotated[int, Field(ge=0)] = 0
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: Positive | None = None
    strategy: Literal["auto", "ddp", "dp"] = "auto"
    precision: Literal["fp32", "bf16"] = "bf16"
    compile: bool = False
    log_every: Positive = 50
    checkpoint_every: Positive = 500
    keep: Positive = 3


class TrainConfig(Section):
    """Everything that decides what a run computes."""

    run: Run
    data: Data
    model: Model = Model()
    degradation: Degradations = Degradations()
    kernels: Kernels = Kernels()
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    validation: Validation = Validation()

    @model_validator(mode="after")
    def _fit(self) -> "TrainConfig":
        for scale in self.degradation.scales:
            if self.data.patch % scale:
                raise ValueError(f"data.patch = {self.data.patch} is not divisible by the scale {scale}")
            if self.data.patch < self.kernels.size:
                raise ValueError(f"data.patch = {self.data.patch} is smaller than kernels.size = {self.kernels.size}")
        if self.data.batch % (self.data.micro or self.data.batch):
            raise ValueError(f"data.batch = {self.data.batch} is not a multiple of data.micro = {self.data.micro}")
        return self


def recipes() -> list[str]:
    """The names of the recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def read_config(source: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """The configuration in a TOML file or a packaged recipe, with ``section.key=value`` put over it.

    Raises ``UsrnetError`` that names every wrong key and what is allowed there.
    """
    path = Path(source)
    if not path.is_file() and (RECIPES / f"{source}.toml").is_file():
        path = RECIPES / f"{source}.toml"
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsrnetError(
            f"{source}: there is no such config file; recipes that come with usrnet: {', '.join(recipes())}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsrnetError(f"{path}: not a TOML file ({error})") from error
    for override in overrides:
        _put(tree, override)
    return validate(tree, str(source))


def validate(tree: Any, name: str) -> TrainConfig:
    """A configuration from plain data; raises ``UsrnetError`` that names every wrong key."""
    try:
        return TrainConfig.model_validate(tree)
    except ValidationError as error:
        raise UsrnetError(f"{name}: " + "; ".join(_explain(problem) for problem in error.errors())) from error


def _put(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    *sections, last = key.strip().split(".")
    if not equals or not last or not sections:
        raise UsrnetError(f"--set {override}: write section.key=value, as in schedule.steps=1000")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a word need not be quoted
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise UsrnetError(f"--set {override}: {section} is not a section")
    tree[last] = value


def _explain(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "the config"
    if problem["type"] == "extra_forbidden":
        section: Any = TrainConfig
        for part in problem["loc"][:-1]:
            section = section.model_fields[part].annotation
        return f"{where} is not a key: allowed are {', '.join(section.model_fields)}"
    if problem["type"] == "missing":
        return f"{where} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return message if where == "the config" else f"{where}: {message}"
    return f"{where} = {problem['input']!r}: {message[0].lower()}{message[1:]}"
