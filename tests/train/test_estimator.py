from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import usrnet
from usrnet import io
from usrnet.errors import UsrnetError
from usrnet.estimate import covariance
from usrnet.estimate.network import FAMILIES, BlurNet
from usrnet.train.estimator import draw_kernels, read_estimator_config, train_estimator, trains_estimator


def test_the_recipe_is_known_as_one_of_the_estimator(tmp_path):
    assert trains_estimator("estimator")
    assert not trains_estimator("default")
    with pytest.raises(UsrnetError, match="no such config file"):
        trains_estimator(tmp_path / "nothing.toml")
    config = read_estimator_config("estimator", ['data.folders=["a"]', "schedule.steps=7", "run.output=elsewhere"])
    assert (config.schedule.steps, config.run.output) == (7, "elsewhere")


def test_photos_have_to_be_named():
    with pytest.raises(UsrnetError, match=r"data\.folders"):
        read_estimator_config("estimator")


@pytest.mark.parametrize("override", ["schedule.rate=1", "schedule.steps=-1", "steps=3", "data.held_out=no"])
def test_wrong_keys_are_errors(override):
    with pytest.raises(UsrnetError, match=override.partition("=")[0].rpartition(".")[2]):
        read_estimator_config("estimator", ['data.folders=["a"]', override])


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_kernels_are_kernels_and_their_covariance_is_theirs(scale):
    taps, moments, family = draw_kernels(np.random.default_rng(0), 200, scale)
    assert taps.sum(axis=(1, 2)) == pytest.approx(np.ones(200))
    assert np.isfinite(moments).all()
    realised = covariance.moments(taps)
    exact = family != FAMILIES.index("shrunk")
    assert moments[exact] == pytest.approx(realised[exact])
    assert (moments[:, [0, 2]] >= 0).all()
    assert set(family) >= {0, FAMILIES.index("disk"), FAMILIES.index("motion")}


def test_a_short_run_writes_weights_that_load(photo, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):
        io.write(folder / f"{i}.png", io.Picture(np.roll(photo, 50 * i, axis=1)))
    overrides = [
        f"run.output={tmp_path / 'run'}", f'data.folders=["{folder}"]', "data.held_out=1", "data.fresh=2",
        "data.batch=8", "data.pool=32", "schedule.steps=2",
    ]  # fmt: skip
    written = train_estimator(read_estimator_config("estimator", overrides))
    BlurNet().load_state_dict(load_file(written))
    assert (tmp_path / "run" / "held_out.txt").read_text("utf-8").count("\n") == 1


def test_weights_of_something_else_are_no_start(photo, tmp_path):
    for i in range(2):
        io.write(tmp_path / f"{i}.png", io.Picture(photo))
    start = Path(usrnet.__file__).parent / "weights" / "default.safetensors"
    overrides = [
        f"run.output={tmp_path / 'run'}", f'data.folders=["{tmp_path}"]', "data.held_out=1", f"model.init={start}",
    ]  # fmt: skip
    with pytest.raises(UsrnetError, match=r"default\.safetensors does not hold the weights of an estimator"):
        train_estimator(read_estimator_config("estimator", overrides))


def test_too_few_photos_are_an_error(photo, tmp_path):
    io.write(tmp_path / "a.png", io.Picture(photo))
    with pytest.raises(UsrnetError, match="too few"):
        train_estimator(
            read_estimator_config("estimator", [f"run.output={tmp_path / 'run'}", f'data.folders=["{tmp_path}"]'])
        )
