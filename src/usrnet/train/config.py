"""The configuration of a training run: one TOML file, validated."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from usrnet import kernels
from usrnet.degradation import SCALES
from usrnet.model import CONFIGS
from usrnet.model import Config as Sizes
from usrnet.train.perceptual import NETWORKS
from usrnet.train.settings import checked, read_tree

SPECTRUM_WINDOW = 24  # side of the windows that objective.spectrum looks through, in pixels

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Above = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(Section):
    """What is trained, and from where.

    ``init``: ``"identity"`` (the prior does nothing yet), ``"orthogonal"`` (as the published training starts), or a
    name or file that ``usrnet.load`` takes. ``carry``: features go from one iteration to the next, which the
    published network does not have. ``shared``: all iterations have the same weights, as in the published network;
    else each has its own. Where the two are not given, they are as in the weights to start from; weights that lack
    what they ask for are taken as a start all the same.
    """

    architecture: str = "usrnet-tiny"
    n_iter: Positive | None = None
    channels: tuple[Positive, Positive, Positive, Positive] | None = None
    blocks: Positive | None = None
    hidden: Positive | None = None
    carry: bool | None = None
    shared: bool | None = None
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
            carry=base.carry if self.carry is None else self.carry,
            shared=base.shared if self.shared is None else self.shared,
        )


class Data(Section):
    """The photos and how they are cut. ``batch`` counts all devices, ``micro`` one forward pass of one device.

    ``draw``: whether every pixel of the folders is drawn equally often, or every photo whatever its size. ``shrunk``:
    every photo is there once more for each of these factors below 1, which makes it sharper and freer of noise.
    """

    folders: Annotated[list[str], Field(min_length=1)]
    patch: Positive = 96
    batch: Positive = 48
    micro: Positive | None = None
    draw: Literal["pixels", "photos"] = "pixels"
    shrunk: list[Annotated[float, Field(gt=0, lt=1)]] = []
    resident: bool | Literal["auto"] = "auto"
    workers: Annotated[int, Field(ge=0)] = 2


class Degradations(Section):
    """How sharp patches become small, blurred and noisy ones.

    One of the ``scales`` per batch. Noise levels are on the 0–255 scale: 0 with the share ``noiseless``, else drawn
    from the range ``noise``, which is that of whole numbers, both ends included, with ``whole_noise``. Before the
    noise a share of the samples is ``rounded`` to 8 bits, another ``truncated``. Of the sharp patches a share has its
    colour channels ``permuted``, a share its saturation scaled by 0.6 to 1.8 (``saturated``), and a share is
    ``collaged`` with shapes and lines of the colours and textures of others, see ``collage.py``.
    """

    scales: Annotated[list[int], Field(min_length=1)] = [1, 2, 3, 4]
    noise: tuple[Annotated[float, Field(ge=0, le=255)], Annotated[float, Field(ge=0, le=255)]] = (0.0, 25.0)
    whole_noise: bool = False
    noiseless: Share = 1 / 9
    rounded: Share = 0.0
    truncated: Share = 0.0
    permuted: Share = 0.0
    saturated: Share = 0.0
    collaged: Share = 0.0

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

    All are ``size``×``size``. A share ``enlarged`` of the motion kernels is stretched 1 to 5 times along each axis.
    Gaussian widths are log-uniform in ``widths`` or, if ``variances`` are given, their squares are uniform in these;
    a share ``isotropic`` is round; a share ``aligned`` is moved by (s−1)/2 toward the upper left, as for a real
    picture, or with ``corner = "any"`` by that of any scale toward any corner.
    """

    motion: Annotated[float, Field(ge=0)] = 0.5
    gaussian: Annotated[float, Field(ge=0)] = 0.5
    bicubic: Annotated[float, Field(ge=0)] = 0.0
    size: Annotated[int, Field(ge=5, le=255)] = 25
    enlarged: Share = 0.0
    widths: tuple[Above, Above] = (0.4, 3.2)
    variances: tuple[Above, Above] | None = None
    isotropic: Share = 0.0
    aligned: Share = 0.0
    corner: Literal["upper left", "any"] = "upper left"
    files: list[str] = []

    @model_validator(mode="after")
    def _something(self) -> "Kernels":
        if not self.files and self.motion + self.gaussian + self.bicubic == 0:
            raise ValueError("motion, gaussian and bicubic are all 0: no kernel could be drawn")
        for name, given in (("widths", self.widths), ("variances", self.variances)):
            if given is not None and given[0] > given[1]:
                raise ValueError(f"{name} = {list(given)}: write the smaller one first")
        if self.size % 2 == 0:
            raise ValueError(f"size = {self.size} is even, so the kernels would have no middle: choose an odd one")
        return self


class Objective(Section):
    """The weights of the terms that are minimised, see ``objective.py``; ``l1`` alone where none is given.

    ``perceptual`` compares features, see the section of that name; ``adversarial`` listens to a ``discriminator``.
    """

    l1: Weight | None = None
    l2: Weight | None = None
    charbonnier: Weight | None = None
    rmse: Weight | None = None
    spectrum: Weight | None = None
    lattice: Weight | None = None
    perceptual: Weight | None = None
    adversarial: Weight | None = None

    @model_validator(mode="after")
    def _something(self) -> "Objective":
        if not self.terms():
            raise ValueError("all weights are 0: nothing would be trained")
        return self

    def terms(self) -> dict[str, float]:
        """The terms that count, by name."""
        given = {name: weight for name, weight in self if weight is not None}
        return {name: weight for name, weight in given.items() if weight} if given else {"l1": 1.0}


class Perceptual(Section):
    """The features of ``objective.perceptual``: the ``network``, its weights if not in their usual place (``file``),
    how much each of its layers counts (``layers``; those of ``perceptual.py`` where none is given), and the
    ``distance`` of two of them: ``l1``, or ``dists``, which asks for the same texture.
    """

    network: Literal["vgg19", "efficientnet-lite0"] = "vgg19"
    distance: Literal["l1", "dists"] = "l1"
    file: str | None = None
    layers: dict[str, Weight] = {}

    @model_validator(mode="after")
    def _known(self) -> "Perceptual":
        names = NETWORKS[self.network].trunk.names
        for name in self.layers:
            if name not in names:
                raise ValueError(f"layers.{name} is no layer of {self.network}: choose from {', '.join(names)}")
        if self.layers and not any(self.layers.values()):
            raise ValueError("layers are all 0: nothing would be compared")
        return self

    def weights(self) -> dict[str, float]:
        """The layers that count, by name."""
        return {name: weight for name, weight in (self.layers or NETWORKS[self.network].layers).items() if weight}


class Optimiser(Section):
    """``lr`` is the largest rate. ``weight_decay`` is added to the gradient by ``adam``, and shrinks the weights by
    themselves, times the rate, with ``adamw`` and ``muon``.

    ``clip``: gradients with a larger norm over all weights are scaled down to it; none are without it. ``ema``: how
    much of the averaged weights, which are what is validated and exported, stays in a step; with 0 they are the
    weights themselves.
    """

    name: Literal["adam", "adamw", "muon"] = "adam"
    lr: Above = 1e-4
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Above | None = None
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999


class DiscriminatorOptimiser(Section):
    """As ``optimiser``; its weights are not averaged."""

    name: Literal["adam", "adamw"] = "adam"
    lr: Above = 1e-4
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Above | None = None


class Rates(Section):
    """How the learning rate changes, as in ``schedule``, over the steps of the run."""

    kind: Literal["halving", "cosine", "trapezoid"] = "halving"
    warmup: Annotated[int, Field(ge=0)] = 0
    halve_every: Positive = 40_000
    halve_at: list[Positive] = []
    lr_min: Annotated[float, Field(ge=0)] = 0.0
    decay: Share = 0.2


class Schedule(Rates):
    """The learning rate over the ``steps`` of the run, from ``optimiser.lr`` and never below ``lr_min``.

    ``halving``: halved every ``halve_every`` steps, or at the steps ``halve_at`` if they are given. ``cosine``: half
    a period of it to ``lr_min`` at the end. ``trapezoid``: constant, and linear to ``lr_min`` over the last share
    ``decay`` of the steps. In the first ``warmup`` steps it rises.
    """

    steps: Positive = 300_000


class Discriminator(Section):
    """The opponent of ``objective.adversarial``, see ``adversarial.py`` and ``discriminator.py``.

    It learns from step ``start`` on, and for the first ``alone`` steps of these the restoring network does not hear
    of it. ``r1``: the weight of the penalty on its slope at photos. Its ``schedule`` is that of the run where none is
    given.
    """

    architecture: Literal["vgg", "unet"] = "vgg"
    channels: Positive = 64
    loss: Literal["plain", "lsgan", "hinge"] = "plain"
    r1: Weight = 0.0
    start: Annotated[int, Field(ge=0)] = 0
    alone: Annotated[int, Field(ge=0)] = 0
    optimiser: DiscriminatorOptimiser = DiscriminatorOptimiser()
    schedule: Rates | None = None


class Validation(Section):
    """A fixed set: ``photos`` pictures of ``folder`` (of the training photos if absent, which then never train).

    Of each the middle ``crop``×``crop`` pixels, with every one of the ``kernels``, ``scales`` and ``noise`` levels.
    """

    every: Positive = 1000
    folder: str | None = None
    photos: Positive = 6
    crop: Annotated[int, Field(ge=48)] = 192
    kernels: Annotated[list[str], Field(min_length=1)] = [
        "gaussian:1.2",
        "gaussian:2.6,1.3,30",
        "motion:3",
        "motion:16",
    ]
    scales: Annotated[list[Annotated[int, Field(ge=1, le=4)]], Field(min_length=1)] = [2, 3, 4]
    noise: Annotated[list[Annotated[float, Field(ge=0, le=255)]], Field(min_length=1)] = [0.0, 7.65]


class Run(Section):
    """Where and how: folder of the run, hardware, logs and checkpoints.

    ``precision``: of the convolutions. ``auto`` is ``bf16`` where the hardware multiplies it natively, else ``fp32``.
    """

    output: str
    seed: Annotated[int, Field(ge=0)] = 0
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: Positive | None = None
    strategy: Literal["auto", "ddp", "dp"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
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
    objective: Objective = Objective()
    perceptual: Perceptual = Perceptual()
    discriminator: Discriminator = Discriminator()
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
        if self.kernels.bicubic and not self.kernels.files:
            needed = max(kernels.bicubic(scale).shape[0] for scale in self.degradation.scales)
            if self.kernels.size < needed:
                raise ValueError(
                    f"kernels.size = {self.kernels.size} is too small for kernels.bicubic, whose kernels at "
                    f"×{max(self.degradation.scales)} need {needed}"
                )
        if self.schedule.lr_min > self.optimiser.lr:
            raise ValueError(f"schedule.lr_min = {self.schedule.lr_min} is above optimiser.lr = {self.optimiser.lr}")
        rates = self.discriminator.schedule
        if rates is not None and rates.lr_min > self.discriminator.optimiser.lr:
            raise ValueError(
                f"discriminator.schedule.lr_min = {rates.lr_min} is above discriminator.optimiser.lr = "
                f"{self.discriminator.optimiser.lr}"
            )
        if "spectrum" in self.objective.terms() and self.data.patch < SPECTRUM_WINDOW:
            raise ValueError(f"data.patch = {self.data.patch} is smaller than the {SPECTRUM_WINDOW} pixels that "
                             "objective.spectrum needs")  # fmt: skip
        if "adversarial" in self.objective.terms():
            divisor = {"vgg": 32, "unet": 8}[self.discriminator.architecture]
            if self.data.patch % divisor:
                raise ValueError(
                    f"data.patch = {self.data.patch} is not divisible by {divisor}, as discriminator.architecture = "
                    f"{self.discriminator.architecture!r} needs it"
                )
        if self.data.batch % (self.data.micro or self.data.batch):
            raise ValueError(f"data.batch = {self.data.batch} is not a multiple of data.micro = {self.data.micro}")
        return self

    def discriminator_schedule(self) -> Schedule:
        """The learning rate of the discriminator over the steps of the run."""
        own = self.discriminator.schedule
        return self.schedule if own is None else Schedule(**own.model_dump(), steps=self.schedule.steps)


def read_config(source: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """The configuration in a TOML file or a packaged recipe, with ``section.key=value`` put over it.

    Raises ``UsrnetError`` that names every wrong key and what is allowed there.
    """
    return checked(TrainConfig, read_tree(source, overrides), str(source))


def validate(tree: Any, name: str) -> TrainConfig:
    """A configuration from plain data; raises ``UsrnetError`` that names every wrong key."""
    return checked(TrainConfig, tree, name)
