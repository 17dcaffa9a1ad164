import math

import pytest
import torch
from lightning_fabric import Fabric
from torch.nn import functional as F

from usrnet.train.adversarial import Adversary, relativistic
from usrnet.train.config import validate
from usrnet.train.discriminator import make_discriminator, turn


@pytest.fixture
def gan(tree):
    tree["objective"] = {"l1": 1, "adversarial": 0.1}
    tree["discriminator"] = {"architecture": "unet", "channels": 4}
    return tree


def test_losses_are_those_of_the_literature():
    high, low = torch.tensor([3.0, 1.0]), torch.tensor([0.0, -2.0])
    truth, lie = high - low.mean(), low - high.mean()
    cross = F.binary_cross_entropy_with_logits
    plain = (cross(truth, torch.ones(2)) + cross(lie, torch.zeros(2))) / 2
    assert float(relativistic("plain", high, low)) == pytest.approx(float(plain))
    assert float(relativistic("lsgan", high, low)) == pytest.approx(((3**2 + 1**2) / 2 + (1**2 + 3**2) / 2) / 2)
    assert float(relativistic("hinge", high, low)) == 0
    assert float(relativistic("hinge", low, high)) == pytest.approx(4)


def test_equal_scores_leave_the_adversary_undecided():
    same = torch.zeros(4, 1)
    assert float(relativistic("plain", same, same)) == pytest.approx(math.log(2))


@pytest.mark.parametrize(("architecture", "shape"), [("vgg", (2, 1)), ("unet", (2, 1, 96, 96))])
def test_discriminators_score_pictures_or_pixels(architecture, shape):
    made = make_discriminator(architecture, patch=96, channels=4, seed=1)
    again = make_discriminator(architecture, patch=96, channels=4, seed=1)
    pictures = torch.rand(2, 3, 96, 96)
    scores = made(pictures)
    assert scores.shape == shape
    assert torch.equal(scores, again(pictures))
    assert torch.equal(scores, made(pictures))  # being asked changes nothing
    turn(made)
    assert (architecture == "unet") != torch.equal(scores, made(pictures))


def test_vgg_is_the_published_one_for_patches_of_96():
    made = make_discriminator("vgg", patch=96, channels=64, seed=0)
    shapes = [tuple(p.shape) for p in made.parameters() if p.dim() > 1]
    widths = (64, 64, 128, 128, 256, 256, 512, 512, 512, 512)
    assert [shape[0] for shape in shapes[:-2]] == list(widths)
    assert [shape[2] for shape in shapes[:-2]] == [3, 4] * 5
    assert shapes[-2:] == [(100, 512 * 3 * 3), (1, 100)]


def test_spectral_norm_brings_every_inner_convolution_to_norm_one():
    made = make_discriminator("unet", patch=32, channels=4, seed=0)
    for _ in range(200):
        turn(made)
    for name in ("down", "up", "body"):
        for layer in made.get_submodule(name).children():
            norm = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)  # pyright: ignore
            assert float(norm.detach()) == pytest.approx(1, abs=1e-3)


def test_the_restoring_network_and_the_adversary_learn_apart(gan):
    adversary = Adversary(validate(gan, "test"), torch.device("cpu"))
    restored, sharp = torch.rand(2, 3, 48, 48).requires_grad_(), torch.rand(2, 3, 48, 48)
    adversary.judge(restored, sharp).backward()
    assert restored.grad is not None
    assert restored.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in adversary.network.parameters())
    restored.grad = None
    adversary.learn(restored, sharp, share=1.0)
    assert restored.grad is None
    assert any(p.grad.abs().sum() > 0 for p in adversary.network.parameters() if p.grad is not None)


def test_the_adversary_learns_to_tell_them_apart(gan):
    gan["discriminator"]["optimiser"] = {"lr": 2e-3}
    adversary = Adversary(validate(gan, "test"), torch.device("cpu"))
    fabric = Fabric(accelerator="cpu", devices=1)
    torch.manual_seed(0)
    losses = []
    for _ in range(40):
        sharp = torch.rand(2, 3, 48, 48)
        smooth = F.avg_pool2d(sharp, 3, 1, 1)
        losses.append(float(adversary.learn(smooth, sharp, share=1.0)[0]))
        adversary.step(fabric, 2e-3)
    assert losses[-1] < 0.5 * losses[0]


def test_r1_is_half_the_squared_slope_at_photos(gan):
    restored, sharp = torch.rand(2, 2, 3, 48, 48)
    device = torch.device("cpu")
    without = float(Adversary(validate(gan, "test"), device).learn(restored, sharp, share=1.0)[0])
    gan["discriminator"]["r1"] = 4.0
    adversary = Adversary(validate(gan, "test"), device)
    known = sharp.clone().requires_grad_()
    (slope,) = torch.autograd.grad(adversary.network(known).sum(), known)
    penalty = 4 / 2 * float(slope.square().sum(dim=(1, 2, 3)).mean())
    assert float(adversary.learn(restored, sharp, share=1.0)[0]) == pytest.approx(without + penalty, rel=1e-5)
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in adversary.network.parameters())
