from dataclasses import replace

import pytest
import torch

import usrnet
from usrnet.errors import UsrnetError
from usrnet.model import Config, USRNet
from usrnet.weights import blend, save

SMALL = Config(n_iter=2, channels=(2, 3, 4, 5), blocks=1, hidden=6)


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return USRNet(SMALL), USRNet(SMALL)


def test_a_blend_is_between_and_its_ends_are_the_two(pair):
    first, second = pair
    before = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    assert all(
        torch.equal(x, y) for x, y in zip(blend(first, second, t=0).parameters(), first.parameters(), strict=True)
    )
    assert all(
        torch.equal(x, y) for x, y in zip(blend(first, second, t=1).parameters(), second.parameters(), strict=True)
    )
    middle = blend(first, second, t=0.25).state_dict()
    for name, tensor in middle.items():
        expected = 0.75 * first.state_dict()[name] + 0.25 * second.state_dict()[name]
        assert torch.allclose(tensor, expected, atol=1e-6)
    assert all(torch.equal(tensor, before[name]) for name, tensor in first.state_dict().items())


def test_files_and_names(pair, tmp_path):
    paths = [save(model, tmp_path / f"{i}.safetensors") for i, model in enumerate(pair)]
    made = blend(*paths, t=0.5)
    assert made.config == SMALL
    assert not made.training


def test_a_network_without_carried_features_carries_zeros(pair):
    other = USRNet(replace(SMALL, carry=True))
    made = blend(pair[0], other, t=0.5)
    assert made.config.carry
    name = "p.m_carry.weight"
    assert torch.allclose(made.state_dict()[name], other.state_dict()[name] / 2)


def test_a_network_with_shared_weights_has_them_in_every_iteration(pair):
    other = USRNet(replace(SMALL, shared=False))
    made = blend(other, pair[0], t=0.25)
    assert not made.config.shared
    expected = other.state_dict()["p.1.m_tail.weight"].lerp(pair[0].state_dict()["p.m_tail.weight"], 0.25)
    assert torch.allclose(made.state_dict()["p.1.m_tail.weight"], expected, atol=1e-6)


def test_what_cannot_be_blended(pair):
    first, second = pair
    for t in (-0.1, 1.5, float("nan")):
        with pytest.raises(UsrnetError, match="is not between 0"):
            blend(first, second, t=t)
    with pytest.raises(UsrnetError, match="tv has no weights that could be blended"):
        blend("tv", second, t=0.5)
    with pytest.raises(UsrnetError, match=r"different sizes cannot be blended.*differ in hidden"):
        blend(first, USRNet(Config(n_iter=2, channels=(2, 3, 4, 5), blocks=1, hidden=8)), t=0.5)


def test_the_official_pair_restores_between(shared):
    photo = torch.rand(1, 3, 8, 8)
    arguments = (photo, torch.ones(1, 1, 1, 1), 2, torch.zeros(1, 1, 1, 1))
    names = [shared / "weights" / f"{name}_tiny.pth" for name in ("usrnet", "usrgan")]
    with torch.inference_mode():
        ends = [usrnet.load(name)(*arguments) for name in names]
        middle = blend(*names, t=0.5)(*arguments)
    whole = (ends[0] - ends[1]).norm()
    assert all((middle - end).norm() < whole for end in ends)
