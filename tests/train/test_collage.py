import numpy as np
import pytest
import torch

from usrnet.train.collage import collages, draw_masks


@pytest.fixture
def sharp(photo):
    views = [np.roll(photo[:72, :72], 20 * number, axis=0) for number in range(4)]
    return torch.from_numpy(np.stack(views).astype(np.float32) / 255).permute(0, 3, 1, 2)


def test_only_what_is_chosen_is_changed(sharp):
    made = collages(sharp, np.array([True, False, True, False]), np.random.default_rng(0))
    assert made.shape == sharp.shape
    assert torch.equal(made[1], sharp[1])
    assert torch.equal(made[3], sharp[3])
    assert not torch.equal(made[0], sharp[0])
    assert made.min() >= 0
    assert made.max() <= 1


def test_a_collage_depends_on_its_draws_alone(sharp):
    chosen = np.ones(4, bool)
    first, again, other = (collages(sharp, chosen, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_edges_are_sharper_than_those_of_photos(sharp):
    def steepest(pictures):
        return pictures.mean(dim=1).diff(dim=-1).abs().flatten(1).max(dim=1).values.mean()

    soft = torch.nn.functional.avg_pool2d(sharp, 5, 1, 2)
    made = [collages(soft, np.ones(4, bool), np.random.default_rng(seed)) for seed in range(8)]
    assert torch.stack([steepest(pictures) for pictures in made]).mean() > 1.5 * steepest(soft)


def test_masks_cover_little_and_much():
    rng = np.random.default_rng(3)
    drawn = [draw_masks(rng, 64) for _ in range(200)]
    fills = np.array([fill.mean() for fill, _ in drawn])
    assert (fills < 0.05).mean() > 0.2
    assert (fills > 0.3).mean() > 0.05
    assert 0.1 < np.mean([outline is not None for _, outline in drawn]) < 0.5
    assert all(fill.min() >= 0 and fill.max() <= 1 and fill.shape == (64, 64) for fill, _ in drawn)
