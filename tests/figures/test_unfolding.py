"""The figure of the unfolding: what it shows is what the model does."""

import numpy as np
import pytest

import usrnet
from usrnet.errors import UsrnetError
from usrnet.figures.drawing import render
from usrnet.figures.unfolding import explain
from usrnet.restoration import Restorer, observe


def test_the_last_iteration_is_the_result(photo):
    small = photo[:40, :52]
    restorer, observation = Restorer("default"), observe(scale=3, kernel="gaussian:1.6", noise_level=5)
    steps = list(restorer.iterations(small, observation))
    assert len(steps) == 6
    result = (steps[-1][1].clip(0, 1) * 255).round().astype(np.uint8)
    assert np.array_equal(result, restorer.restore(small, observation))


def test_in_light_too_the_last_iteration_is_the_result(photo):
    small = photo[:40, :52]
    known = observe(scale=2, kernel="gaussian:1.6", noise_level=5, light="linear").stored_as(camera=True)
    assert known.curve is not None
    restorer = Restorer("default")
    *_, (_, x) = restorer.iterations(small, known)
    assert np.abs((x * 255).round() - restorer.restore(small, known)).max() <= 1


@pytest.mark.parametrize(("model", "iterations"), [("default", 6), ("tv", 24)])
def test_figure(photo, model, iterations):
    truth = photo[64:192, 64:192]
    small = usrnet.degrade(truth, "motion:3", scale=2, noise_level=2.55)
    figure = explain(small, model=model, scale=2, kernel="motion:3", noise_level=2.55, truth=truth)
    above, below = figure.subfigs
    assert len(above.axes) == 2 * (iterations + 1)
    assert len(below.axes) == 5
    curve = np.asarray(below.axes[-1].lines[1].get_ydata())
    assert len(curve) == iterations
    assert curve[-1] > curve[0] + 2  # the restoration converges
    assert render(figure, dpi=40).std() > 10


def test_grey_picture_and_wrong_truth(photo):
    grey = photo[:50, :40, 0]
    explain(grey, scale=2, kernel="delta")
    with pytest.raises(UsrnetError, match="the truth has 40×50 pixels, the restored picture 80×100"):
        explain(grey, scale=2, truth=grey)


def test_blur_and_noise_can_be_found(photo):
    small = usrnet.degrade(photo, "gaussian:2", scale=2, noise_level=2.55)
    figure = explain(small, scale=2, kernel="auto", noise_level="auto")
    assert "σ = 2.55" not in [axes.get_title() for axes in figure.subfigs[1].axes]
    with pytest.raises(UsrnetError, match="noise that differs from pixel to pixel"):
        explain(small, scale=2, noise_level="poisson:0.1,2")
