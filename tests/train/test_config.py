import pytest

from usrnet.errors import UsrnetError
from usrnet.model import CONFIGS
from usrnet.train.config import read_config, recipes, validate


@pytest.mark.parametrize("name", ["usrnet", "usrnet-tiny", "default"])
def test_recipes_are_valid(name):
    config = read_config(name)
    assert name in recipes()
    assert config.model.sizes() == CONFIGS["usrnet" if name == "usrnet" else "usrnet-tiny"]


def test_the_published_recipe():
    config = read_config("usrnet-tiny")
    assert (config.data.patch, config.data.batch) == (96, 48)
    assert config.optimiser.name == "adam"
    assert config.optimiser.lr == 1e-4
    assert config.schedule.halve_every == 40_000
    assert config.degradation.noise == (0, 25)


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
        ("optimiser.lr=-1", ["optimiser.lr = -1", "greater than 0"]),
        ("optimiser.lr=fast", ["optimiser.lr = 'fast'", "number"]),
        ("optimiser.name=sgd", ["optimiser.name = 'sgd'", "adam"]),
        ("degradation.scales=[2,5]", ["scale 5", "1, 2, 3, 4"]),
        ("degradation.noise=[9,1]", ["noise goes from 9"]),
        ("data.patch=64", ["data.patch = 64", "scale 3"]),
        ("data.patch=12", ["data.patch = 12", "kernels.size"]),
        ("data.micro=5", ["data.micro = 5"]),
        ("kernels.motion=-1", ["kernels.motion = -1"]),
        ("model.architecture=resnet", ["resnet", "usrnet-tiny"]),
        ("schedule", ["section.key=value"]),
    ],
)
def test_a_wrong_key_is_named_with_what_is_allowed(override, words):
    with pytest.raises(UsrnetError) as error:
        read_config("usrnet-tiny", [override])
    assert all(word in str(error.value) for word in words), error.value


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(UsrnetError, match=r"no such config file; recipes .* default"):
        read_config(tmp_path / "gone.toml")
    (tmp_path / "bad.toml").write_text("[run\n")
    with pytest.raises(UsrnetError, match="not a TOML file"):
        read_config(tmp_path / "bad.toml")
    with pytest.raises(UsrnetError, match="run is missing"):
        validate({"data": {"folders": ["x"]}}, "test")
