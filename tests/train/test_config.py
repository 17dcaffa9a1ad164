from dataclasses import replace

import pytest

from usrnet.errors import UsrnetError
from usrnet.model import CONFIGS
from usrnet.train.config import read_config, validate
from usrnet.train.loop import learning_rate
from usrnet.train.settings import recipes

FOLDERS = "data.folders=['photos']"


@pytest.mark.parametrize("name", ["usrnet", "kair-usrnet-tiny", "default", "usrgan", "usrgan-tiny", "default-gan"])
def test_recipes_are_valid_once_the_photos_are_named(name):
    config = read_config(name, [FOLDERS])
    assert name in recipes()
    sizes = CONFIGS["usrnet" if name in ("usrnet", "usrgan") else "usrnet-tiny"]
    assert config.model.sizes() == replace(sizes, carry=name == "default")
    with pytest.raises(UsrnetError, match=r"^\S+: data.folders is missing: name the folders of your photos, as in"):
        read_config(name)
    with pytest.raises(UsrnetError, match=r"data.folders is missing"):
        read_config(name, ["data.folders=[]"])


@pytest.mark.parametrize("name", ["usrgan", "usrgan-tiny"])
def test_the_published_usrgan(name):
    config = read_config(name, [FOLDERS])
    assert config.objective.terms() == {"l1": 1, "perceptual": 1, "adversarial": 0.005}
    assert config.perceptual.network == "vgg19"
    assert config.perceptual.weights() == {"conv5_4": 1}
    assert config.model.init == ("usrnet" if name == "usrgan" else "usrnet-tiny")
    assert (config.discriminator.architecture, config.discriminator.loss, config.data.patch) == ("vgg", "plain", 96)


def test_the_discriminator_has_rates_of_its_own():
    own = ["discriminator.schedule.kind=cosine", "discriminator.schedule.warmup=10", "schedule.steps=100"]
    assert read_config("default-gan", [FOLDERS]).discriminator_schedule().kind == "trapezoid"
    schedule = read_config("default-gan", [FOLDERS, *own]).discriminator_schedule()
    assert (schedule.kind, schedule.warmup, schedule.steps) == ("cosine", 10, 100)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("objective.adversarial=-1", ["objective.adversarial = -1", "greater than or equal to 0"]),
        ("objective.lpips=1", ["objective.lpips is not a key", "perceptual, adversarial"]),
        ("perceptual.network=alexnet", ["perceptual.network = 'alexnet'", "vgg19"]),
        ("perceptual.layers.conv5_4=1", ["layers.conv5_4 is no layer of efficientnet-lite0", "block15"]),
        ("perceptual.layers.block0=-1", ["perceptual.layers.block0 = -1"]),
        ("perceptual.layers={block0=0}", ["layers are all 0"]),
        ("discriminator.loss=wgan", ["discriminator.loss = 'wgan'", "hinge"]),
        ("discriminator.ema=0.9", ["discriminator.ema is not a key", "architecture"]),
        ("discriminator.optimiser.ema=0.9", ["discriminator.optimiser.ema is not a key", "betas"]),
        ("discriminator.schedule.steps=9", ["discriminator.schedule.steps is not a key", "warmup"]),
        ("discriminator.schedule.lr_min=1", ["discriminator.schedule.lr_min = 1", "discriminator.optimiser.lr"]),
        ("data.patch=68", ["data.patch = 68 is not divisible by 8", "discriminator.architecture"]),
    ],
)
def test_wrong_keys_of_the_perceptual_and_adversarial_terms(override, words):
    with pytest.raises(UsrnetError) as error:
        read_config("default-gan", [FOLDERS, override])
    assert all(word in str(error.value) for word in words), error.value


def rates(config):
    return [
        learning_rate(config.schedule, step, config.optimiser.lr) for step in range(0, config.schedule.steps, 100)
    ]


def test_the_training_of_the_published_code():
    config = read_config("kair-usrnet-tiny", [FOLDERS])
    assert (config.data.patch, config.data.batch, config.data.draw) == (96, 48, "photos")
    assert (config.optimiser.name, config.optimiser.lr) == ("adam", 1e-4)
    assert (config.optimiser.clip, config.optimiser.ema, config.optimiser.weight_decay) == (None, 0, 0)
    assert config.objective.terms() == {"l1": 1}
    assert (config.degradation.noise, config.degradation.whole_noise) == ((0, 24), True)
    assert (config.degradation.truncated, config.degradation.rounded) == (1, 0)
    rate = rates(config)
    assert [rate[step // 100] for step in (0, 99_900, 100_000, 399_900, 400_000)] == [
        1e-4, 1e-4, 5e-5, 1.25e-5, 6.25e-6,
    ]  # fmt: skip


def test_the_training_of_the_paper():
    config = read_config("usrnet", [FOLDERS])
    assert (config.data.batch, config.schedule.halve_every) == (128, 40_000)
    rate = rates(config)
    assert rate[399:401] == [1e-4, 5e-5]
    assert rate[-1] == pytest.approx(3e-6, rel=0.05)
    assert min(rate) >= 3e-6


def test_a_file_with_overrides(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[run]\noutput = "runs/mine"\n[data]\nfolders = ["photos"]\n')
    config = read_config(
        path, ["schedule.steps=7", "run.output=elsewhere", "degradation.scales=[2]", "optimiser.lr=2e-3"]
    )
    assert config.schedule.steps == 7
    assert config.run.output == "elsewhere"
    assert config.degradation.scales == [2]
    assert config.optimiser.lr == 2e-3


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimiser.rate=1", ["optimiser.rate is not a key", "lr", "betas"]),
        ("optimizer.lr=1", ["optimizer is not a key", "optimiser"]),
        ("data.folders=photos", ['data.folders = "photos" is not a list: write data.folders = ["photos"]']),
        ("degradation.scales=2", ["degradation.scales = 2 is not a list: write degradation.scales = [2]"]),
        ("optimiser.lr=-1", ["optimiser.lr = -1", "greater than 0"]),
        ("optimiser.lr=fast", ["optimiser.lr = 'fast'", "number"]),
        ("optimiser.name=sgd", ["optimiser.name = 'sgd'", "adam"]),
        ("degradation.scales=[2,5]", ["scale 5", "1, 2, 3, 4"]),
        ("degradation.noise=[9,1]", ["noise goes from 9"]),
        ("data.patch=64", ["data.patch = 64", "scale 3"]),
        ("data.patch=12", ["data.patch = 12", "kernels.size"]),
        ("data.micro=5", ["data.micro = 5"]),
        ("validation.crop=24", ["validation.crop = 24", "greater than or equal to 48"]),
        ("validation.kernels=[]", ["validation.kernels = []", "at least 1 item"]),
        ("validation.scales=[5]", ["validation.scales.0 = 5", "less than or equal to 4"]),
        ("validation.noise=[300]", ["validation.noise.0 = 300", "less than or equal to 255"]),
        ("kernels.motion=-1", ["kernels.motion = -1"]),
        ("kernels.size=24", ["kernels: size = 24 is even", "odd"]),
        ("kernels.variances=[3,1]", ["variances = [3.0, 1.0]", "smaller one first"]),
        ("objective.l1=-1", ["objective.l1 = -1", "greater than or equal to 0"]),
        ("objective.l1=0", ["objective: all weights are 0"]),
        ("objective.vgg=1", ["objective.vgg is not a key", "l1, l2, charbonnier"]),
        ("optimiser.loss=l1", ["optimiser.loss is not a key"]),
        ("schedule.lr_min=0.1", ["schedule.lr_min = 0.1", "optimiser.lr = 0.0001"]),
        ("run.precision=fp8", ["run.precision = 'fp8'", "auto"]),
        ("model.architecture=resnet", ["resnet", "usrnet-tiny"]),
        ("schedule", ["section.key=value"]),
    ],
)
def test_a_wrong_key_is_named_with_what_is_allowed(override, words):
    with pytest.raises(UsrnetError) as error:
        read_config("kair-usrnet-tiny", [FOLDERS, override])
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(("scales", "needed"), [("[4]", 19), ("[2, 3]", 13)])
def test_kernels_of_bicubic_need_room(scales, needed):
    settings = [FOLDERS, "kernels.bicubic=0.1", f"degradation.scales={scales}"]
    assert read_config("default", [*settings, f"kernels.size={needed}"]).kernels.size == needed
    with pytest.raises(UsrnetError, match=rf"kernels.size = {needed - 2} is too small .* need {needed}"):
        read_config("default", [*settings, f"kernels.size={needed - 2}"])


def test_windows_of_the_spectrum_need_room():
    settings = [FOLDERS, "kernels.size=11", "objective.spectrum=0.1"]
    assert read_config("kair-usrnet-tiny", [*settings, "data.patch=24"]).data.patch == 24
    with pytest.raises(UsrnetError, match=r"data.patch = 12 is smaller than the 24 pixels that objective.spectrum"):
        read_config("kair-usrnet-tiny", [*settings, "data.patch=12"])


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(UsrnetError, match=r"no such config file; recipes .* default"):
        read_config(tmp_path / "gone.toml")
    (tmp_path / "bad.toml").write_text("[run\n")
    with pytest.raises(UsrnetError, match="not a TOML file"):
        read_config(tmp_path / "bad.toml")
    with pytest.raises(UsrnetError, match="run is missing"):
        validate({"data": {"folders": ["x"]}}, "test")
