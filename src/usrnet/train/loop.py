"""The training loop: from sharp patches to weights, to be read from top to bottom."""

import json
import math
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from usrnet import weights
from usrnet.atomic import write_bytes
from usrnet.device import choose_precision, multiplies_bf16
from usrnet.errors import UsrnetError
from usrnet.model import USRNet
from usrnet.model.widening import widened
from usrnet.train import checkpoint
from usrnet.train.config import Optimiser, Run, Schedule, TrainConfig
from usrnet.train.config import validate as validate_config
from usrnet.train.initialise import start_as_identity, start_orthogonal
from usrnet.train.logs import Logs, Tally
from usrnet.train.objective import Objective
from usrnet.train.optimisers import make_optimiser
from usrnet.train.photos import list_photos, open_photos
from usrnet.train.synthesis import Synthesis
from usrnet.train.validation import all_finite, make_cases, photos_of, save_pictures, validate

# What may differ between a run and its continuation: none of it changes what a step computes.
MAY_CHANGE = (
    "run.accelerator", "run.devices", "run.strategy", "run.compile", "run.log_every", "run.checkpoint_every",
    "run.keep", "run.output", "schedule.steps", "data.resident", "data.workers", "validation",
)  # fmt: skip


def train(config: TrainConfig, *, resume: bool = False) -> Path:
    """Train as ``config`` says; returns the folder of the run, with ``best.safetensors`` and ``last.safetensors``.

    Raises ``UsrnetError`` before the first step for what cannot work, and when the loss is no longer finite.
    """
    fabric = launch(config.run)
    reduced = uses_bf16(config.run, fabric.device)
    with fabric.rank_zero_first():  # the first process may download
        objective = Objective(config, fabric.device)
    adversary = objective.adversary
    model = initial_model(config)
    folder = Path(config.run.output)
    state = open_run(folder, config, resume=resume, create=fabric.is_global_zero)
    fabric.barrier()

    held_out, listing = photos_of(config.validation, list_photos(config.data.folders, config.data.patch))
    listing = listing.with_shrunk(config.data.shrunk, config.data.patch)
    photos = open_photos(listing, fabric.device, resident=config.data.resident, workers=config.data.workers)
    synthesis = Synthesis(config, photos, listing.shares(config.data.draw), fabric.device)
    cases = make_cases(config.validation, held_out) if fabric.is_global_zero else []
    size, parts = share_of(config, fabric)

    average = deepcopy(model).requires_grad_(requires_grad=False).to(fabric.device)
    step, best = 0, -math.inf
    if state is not None:
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        step, best = state["step"], state["best"]
        if adversary is not None:
            adversary.load(state["adversary"])
    model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimiser = make_optimiser(model, config.optimiser)
    if config.run.compile:
        model.compile()
    network, optimiser = fabric.setup(model, optimiser)
    if state is not None:
        optimiser.load_state_dict(state["optimiser"])  # only now: it goes where the weights are

    def save() -> None:
        if not (fabric.is_global_zero and all_finite(model) and (adversary is None or all_finite(adversary.network))):
            return
        content = {"model": model.state_dict(), "average": average.state_dict(), "step": step, "best": best,
                   "optimiser": optimiser.state_dict(), "config": config.model_dump(mode="json")}  # fmt: skip
        if adversary is not None:
            content["adversary"] = adversary.state()
        checkpoint.save(folder / "checkpoints", content, keep=config.run.keep)
        export(average, folder / "last.safetensors", config, step)

    batches = synthesis.batches(range(step, config.schedule.steps), parts, size)
    names = objective.details
    columns = [*names, "features"] if names or objective.perceptual else []
    logs = Logs(folder, step=step, steps=config.schedule.steps, active=fabric.is_global_zero, details=columns)
    tally = Tally(config.data.batch, names)
    with logs, stop_requests() as stop_requested:
        logs.say(f"{fabric.world_size} × {fabric.device.type}, {len(listing.files)} photos, from step {step}")
        if step >= config.schedule.steps:
            logs.say(f"nothing to do: schedule.steps = {config.schedule.steps}")
        while step < config.schedule.steps:
            rate = learning_rate(config.schedule, step, config.optimiser.lr)
            for group in optimiser.param_groups:
                group["lr"] = rate * group.get("lr_factor", 1.0)

            total, detail = torch.zeros((), device=fabric.device), torch.zeros(len(names), device=fabric.device)
            for part in parts:
                with tally.waits():
                    batch = next(batches)
                with fabric.no_backward_sync(network, enabled=part != parts[-1]):
                    with torch.autocast(fabric.device.type, torch.bfloat16, enabled=reduced):
                        restored = network(batch.y, batch.kernel, batch.scale, batch.sigma)
                    loss, said = objective(restored, batch.sharp, step, part, share=1 / len(parts), reduced=reduced)
                    fabric.backward(loss)
                total += loss.detach()
                detail += said
            norm = clip_gradients(model, config.optimiser)
            optimiser.step()
            optimiser.zero_grad()
            if adversary is not None and adversary.learns(step):
                rival = config.discriminator.optimiser.lr
                adversary.step(fabric, learning_rate(config.discriminator_schedule(), step, rival))
            step += 1
            update_average(average, model, config.optimiser.ema, step)
            tally.add(total, detail)

            last = step == config.schedule.steps
            stopping = anywhere(stop_requested(), fabric)
            if step % config.run.log_every == 0 or last or stopping:
                means = tally.means(fabric)
                if not all(map(math.isfinite, means.values())):
                    raise UsrnetError(non_finite(folder, step))
                logs.write(step, lr=rate, gradient_norm=float(norm), **means)
            if step % config.validation.every == 0 or last:
                if fabric.is_global_zero and all_finite(average):
                    scores, pictures = validate(average, cases, objective.perceptual)
                    logs.write(step, **scores)
                    logs.pictures(step, pictures)
                    save_pictures(pictures, folder / "samples")
                    score = -scores["features"] if "features" in scores else scores["psnr"]
                    if score > best:
                        best = score
                        export(average, folder / "best.safetensors", config, step, scores["psnr"])
                fabric.barrier()
                tally.start()
            if step % config.run.checkpoint_every == 0 or last or stopping:
                if not tally.finite():
                    raise UsrnetError(non_finite(folder, step))
                save()
            if stopping and not last:
                logs.say(f"stopped at step {step}, saved; --resume goes on from there")
                break
    return folder


def launch(run: Run) -> Fabric:
    """The devices of the run; under ``torchrun`` this joins the other processes."""
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", 0))  # processes that torchrun started on this machine
    try:
        fabric = Fabric(
            accelerator=run.accelerator,
            devices=beside or run.devices or ("auto" if run.accelerator != "cpu" else 1),
            num_nodes=int(os.environ["WORLD_SIZE"]) // beside if beside else 1,
            strategy="ddp" if beside and run.strategy == "auto" else run.strategy,
            precision="32-true",  # Fabric's bf16 would round the pictures; only the prior may
        )
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        raise UsrnetError(f"run.accelerator = {run.accelerator}, run.devices = {run.devices}: {error}") from error
    return fabric


def uses_bf16(run: Run, device: torch.device) -> bool:
    """Whether the convolutions are bfloat16; ``UsrnetError`` where that is asked for and cannot be had."""
    if run.precision == "auto":
        return multiplies_bf16(device)
    try:
        return choose_precision(run.precision, device) == "bf16"
    except UsrnetError as error:
        raise UsrnetError(f"run.precision: {error}") from error


def anywhere(asked: bool, fabric: Fabric) -> bool:
    """Whether any process was asked to stop: all must stop after the same step, or they wait for each other."""
    if fabric.world_size == 1:
        return asked
    count = fabric.all_reduce(torch.tensor(float(asked), device=fabric.device), reduce_op="sum")
    return bool(count > 0)  # pyright: ignore[reportOperatorIssue]


def share_of(config: TrainConfig, fabric: Fabric) -> tuple[int, range]:
    """The size of the parts of a global batch, and the parts that this process makes."""
    batch, world = config.data.batch, fabric.world_size
    size = config.data.micro or batch // world
    if batch % world or size == 0 or (batch // size) % world:
        raise UsrnetError(f"data.batch = {batch} cannot be shared by {world} processes in parts of {size}")
    count = batch // size // world
    return size, range(fabric.global_rank * count, (fabric.global_rank + 1) * count)


def initial_model(config: TrainConfig) -> USRNet:
    """The model at step 0: started as ``model.init`` says, or the weights that it names."""
    sizes = config.model.sizes()
    start = {"identity": start_as_identity, "orthogonal": start_orthogonal}.get(config.model.init)
    if start is not None:
        model = USRNet(sizes)
        start(model, config.run.seed)
        return model
    model = weights.load(config.model.init)
    if not isinstance(model, USRNet):
        raise UsrnetError(f"model.init = {config.model.init!r} has no weights that could be trained")
    for key in ("carry", "shared"):
        if getattr(config.model, key) is None:
            sizes = replace(sizes, **{key: getattr(model.config, key)})
    if model.config != sizes:
        model = widened(model, carry=sizes.carry, shared=sizes.shared)
    if model.config != sizes:
        raise UsrnetError(
            f"model.init = {config.model.init!r} has other sizes than {config.model.architecture}: "
            f"{asdict(model.config)} instead of {asdict(sizes)}"
        )
    return model.train().requires_grad_()


def learning_rate(schedule: Schedule, step: int, largest: float) -> float:
    """The learning rate of ``step`` (from 0), of which ``largest`` is the largest one; never below ``lr_min``."""
    warm = min(1.0, (step + 1) / schedule.warmup) if schedule.warmup else 1.0
    lowest, progress = schedule.lr_min, step / schedule.steps
    if schedule.kind == "halving":
        at, every = schedule.halve_at, schedule.halve_every
        halvings = sum(passed <= step for passed in at) if at else step // every
        rate = largest * 0.5**halvings
    elif schedule.kind == "cosine":
        rate = lowest + (largest - lowest) * 0.5 * (1 + math.cos(math.pi * progress))
    else:
        share = min(1.0, (1 - progress) / schedule.decay) if schedule.decay else 1.0
        rate = lowest + (largest - lowest) * share
    return max(lowest, warm * rate)


def clip_gradients(model: nn.Module, options: Optimiser) -> Tensor:
    """Scale all gradients down to the norm ``clip``, if there is one; returns the norm they had."""
    return nn.utils.clip_grad_norm_(model.parameters(), options.clip or math.inf)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of the weights; early on over fewer steps, or it would remember the start."""
    decay = min(decay, step / (step + 9))
    for mean, current in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(current, 1 - decay)


def open_run(folder: Path, config: TrainConfig, *, resume: bool, create: bool) -> dict[str, Any] | None:
    """The checkpoint to go on from, or None for a new run, whose folder is made.

    Raises ``UsrnetError`` when the folder holds another run, or one that was made with other settings.
    """
    kept = folder / "config.json"
    if not resume:
        if kept.exists() and create:
            raise UsrnetError(f"{folder} holds a run already: --resume goes on with it, or choose another run.output")
        if create:
            describe_run(folder, config)
        return None
    state = checkpoint.load_latest(folder / "checkpoints")
    before = flatten(validate_config(state["config"], str(folder)).model_dump(mode="json"))
    now = flatten(config.model_dump(mode="json"))
    changed = [key for key in now if now[key] != before[key] and not key.startswith(MAY_CHANGE)]
    if changed:
        listed = ", ".join(f"{key} = {now[key]} (was {before[key]})" for key in changed)
        raise UsrnetError(f"{folder} was trained with other settings: {listed}; choose another run.output")
    if create:
        describe_run(folder, config)
    return state


def describe_run(folder: Path, config: TrainConfig) -> None:
    """Write ``config.json``, which also shows before the work that the folder can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / "config.json", json.dumps(config.model_dump(mode="json"), indent=2).encode())
    except OSError as error:
        raise UsrnetError(
            f"run.output = {str(folder)!r} cannot be written ({error.strerror}): choose another"
        ) from error


def flatten(tree: dict[str, Any]) -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    return {f"{section}.{key}": value for section, values in tree.items() for key, value in values.items()}


def export(model: nn.Module, path: Path, config: TrainConfig, step: int, psnr: float | None = None) -> None:
    """The averaged weights as a file that ``usrnet restore --model`` takes, with how they were made."""
    metadata = {"steps": str(step), "config": config.model_dump_json()}
    if psnr is not None:
        metadata["validation_psnr"] = f"{psnr:.3f}"
    weights.save(model, path, metadata=metadata, overwrite=True)


def non_finite(folder: Path, step: int) -> str:
    return (
        f"the loss is not finite any more at step {step}; the last good checkpoint is in {folder / 'checkpoints'}: "
        "resume from it with a smaller optimiser.lr or with optimiser.clip"
    )


@contextmanager
def stop_requests() -> Iterator[Any]:
    """Ctrl-C and SIGTERM ask the loop to save and stop after the step; a second Ctrl-C stops at once."""
    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: the caller deals with signals
        before = {}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
