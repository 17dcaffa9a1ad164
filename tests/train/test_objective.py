import pytest
import torch

from usrnet.train.config import Objective
from usrnet.train.objective import TERMS, weighted_sum


@pytest.mark.parametrize("name", TERMS)
def test_every_term_is_an_error_with_a_gradient_also_at_zero(name):
    sharp = torch.rand(3, 3, 8, 8)
    for error in (0.0, 0.1, 0.2):
        restored = (sharp + error).requires_grad_()
        value = TERMS[name](restored, sharp)
        value.backward()
        expected = {"l2": error**2}.get(name, error)
        assert float(value.detach()) == pytest.approx(expected, abs=1.1e-3)
        assert restored.grad is not None
        assert restored.grad.isfinite().all()


def test_an_easy_picture_counts_no_less_in_rmse():
    sharp = torch.zeros(2, 3, 8, 8)
    restored = torch.stack([torch.full((3, 8, 8), 0.01), torch.full((3, 8, 8), 0.1)]).requires_grad_()

    def share(name):
        (gradient,) = torch.autograd.grad(TERMS[name](restored, sharp), restored)
        return float(gradient[0].norm() / gradient[1].norm())

    assert share("rmse") == pytest.approx(1, abs=1e-3)
    assert share("l2") == pytest.approx(0.1, abs=1e-3)


def test_the_terms_add_up_with_their_weights():
    restored, sharp = torch.rand(2, 2, 3, 8, 8)
    weights = {"l1": 2.0, "l2": 0.5}
    total = weighted_sum(weights, {name: TERMS[name](restored, sharp) for name in weights})
    difference = restored - sharp
    assert torch.allclose(total, 2 * difference.abs().mean() + 0.5 * difference.square().mean())


def test_the_terms_of_a_config():
    assert Objective().terms() == {"l1": 1}
    assert Objective(l2=3).terms() == {"l2": 3}
    assert Objective(l1=0, charbonnier=2).terms() == {"charbonnier": 2}
    assert set(Objective.model_fields) == {*TERMS, "perceptual", "adversarial"}
