import torch

from usrnet.model import CONFIGS, Config, USRNet
from usrnet.train.initialise import start_as_identity, start_orthogonal


def test_the_prior_is_the_identity_and_the_schedule_the_classical_one():
    model = USRNet(CONFIGS["usrnet-tiny"])
    start_as_identity(model, seed=3)
    picture = torch.rand(2, 3, 24, 40)
    assert torch.equal(model.p(picture, torch.full((2, 1, 1, 1), 0.1)), picture)
    alpha, beta = model.h(torch.tensor([0.0, 15 / 255]).reshape(2, 1, 1, 1), 2)
    mu = torch.logspace(0, 2.1761, 6)[:, None]
    expected = mu * torch.tensor([0.7 / 255, 15 / 255]).square()
    assert ((alpha.reshape(6, 2) / expected).log().abs() < 0.7).all()
    assert ((beta.reshape(6, 2) / torch.logspace(-0.301, -1.699, 6)[:, None]).log().abs() < 0.3).all()


def test_every_parameter_learns():
    """The zeros of the start let a gradient through within two steps."""
    model = USRNet(CONFIGS["usrnet-tiny"])
    start_as_identity(model)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    y, truth = torch.rand(2, 3, 12, 12), torch.rand(2, 3, 24, 24)
    for _ in range(4):
        optimiser.zero_grad()
        (model(y, torch.ones(1, 1, 1, 1), 2, torch.full((2, 1, 1, 1), 0.05)) - truth).abs().mean().backward()
        optimiser.step()
    names = [name for name, _ in model.named_parameters()]
    still = [name for name, a, b in zip(names, before, model.parameters(), strict=True) if torch.equal(a, b)]
    assert still == []


def test_the_published_start():
    model = USRNet(CONFIGS["usrnet-tiny"])
    start_orthogonal(model, seed=3)
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            assert not weight.any()
            continue
        matrix = weight.flatten(1)
        matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        assert torch.allclose(matrix @ matrix.T, 0.04 * torch.eye(len(matrix)), atol=1e-5), name


def test_priors_of_their_own_start_as_the_identity_too():
    model = USRNet(Config(n_iter=2, channels=(4, 4, 4, 4), blocks=1, hidden=4, carry=True, shared=False))
    start_as_identity(model)
    picture = torch.rand(1, 3, 16, 8)
    assert all(torch.equal(prior(picture, torch.zeros(1, 1, 1, 1)), picture) for prior in model.priors(2))


def test_the_start_depends_on_the_seed_alone():
    a, b, c = (USRNet(CONFIGS["usrnet-tiny"]) for _ in range(3))
    start_as_identity(a, seed=1)
    torch.rand(3)
    start_as_identity(b, seed=1)
    start_as_identity(c, seed=2)
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    assert not all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), c.state_dict().values(), strict=True))
