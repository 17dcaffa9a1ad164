from dataclasses import replace

import pytest
import torch
from torch import nn

import usrnet
from usrnet import USRNet, UsrnetError
from usrnet.model import Config, HalfQuadraticSchedule, TotalVariation
from usrnet.model.reference import published_form
from usrnet.model.widening import widened

SMALL = Config(n_iter=3, channels=(4, 4, 6, 8), blocks=1, hidden=4)
BATCH = torch.rand(2, 3, 9, 11), torch.rand(2, 25).softmax(1).reshape(2, 1, 5, 5), 2, torch.full((2, 1, 1, 1), 0.02)


@pytest.mark.parametrize("had", [False, True], ids=["plain", "carrying"])
@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
def test_the_same_function_that_can_learn_more(had, shared):
    model = USRNet(replace(SMALL, carry=had))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    wide = widened(model, carry=True, shared=shared)
    assert wide.config == replace(SMALL, carry=True, shared=shared)
    assert torch.equal(model(*BATCH), wide(*BATCH))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    wide(*BATCH).square().mean().backward()
    assert [name for name, weights in wide.named_parameters() if weights.grad is None] == []
    gradients = {name: weights.grad for name, weights in wide.named_parameters() if "m_carry" in name}
    assert len(gradients) == (1 if shared else 2)  # nothing comes before the first iteration
    assert all(gradient is not None and gradient.any() for gradient in gradients.values())


def test_what_is_there_already_stays():
    model = USRNet(replace(SMALL, carry=True, shared=False))
    again = widened(model)
    assert again.config == model.config
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert again.train(mode=False).training != widened(model).training


def test_each_iteration_has_weights_of_its_own():
    torch.manual_seed(0)
    model = widened(USRNet(replace(SMALL, carry=True)), shared=False)
    before = [x for _, x in model.iterate(*BATCH)]
    nn.init.zeros_(model.get_parameter("p.1.m_tail.weight"))
    after = [x for _, x in model.iterate(*BATCH)]
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True, False, False]
    assert not after[1].any()
    assert torch.allclose(published_form(model, *BATCH), model(*BATCH), atol=1e-4)


def test_priors_of_another_number_than_the_iterations():
    priors = nn.ModuleList([TotalVariation(2), TotalVariation(3)])
    two = usrnet.Unfolding(priors, HalfQuadraticSchedule(2, mu=(0.1, 1000.0), weight=5.0))
    assert len(list(two.iterate(*BATCH))) == 2
    three = usrnet.Unfolding(priors, HalfQuadraticSchedule(3, mu=(0.1, 1000.0), weight=5.0))
    with pytest.raises(UsrnetError, match="2 priors cannot serve 3 iterations"):
        three(*BATCH)


def test_the_type_of_the_weights_stays():
    model = USRNet(SMALL).double()
    wide = widened(model, carry=True, shared=False)
    batch = [part.double() if isinstance(part, torch.Tensor) else part for part in BATCH]
    assert torch.equal(model(*batch), wide(*batch))
