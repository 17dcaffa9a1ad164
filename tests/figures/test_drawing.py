import numpy as np
import pytest
from PIL import Image

from usrnet import kernels
from usrnet.errors import UsrnetError
from usrnet.figures import drawing
from usrnet.figures.kernels import kernel_figure


def test_a_figure_has_a_picture_and_a_surface_for_every_kernel():
    figure = kernel_figure([kernels.gaussian(1), kernels.motion(2)], ["round", "shaken"])
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == ["round", "shaken"]
    assert len(figure.axes) == 4
    assert drawing.render(figure).std() > 5


def test_negative_taps_are_shown_as_such():
    """White is zero, blue below, and a colour bar tells how much."""
    figure = kernel_figure([kernels.bicubic(2)], ["bicubic"])
    picture = figure.axes[0].images[0]
    assert (picture.norm.vmin, picture.norm.vmax) == pytest.approx((-0.192, 0.192), abs=0.01)
    assert len(figure.axes) == 3


def test_an_animation_has_all_frames_and_never_ends(tmp_path):
    frames = [np.full((20, 30, 3), 40 * index, np.uint8) for index in range(5)]
    drawing.save_gif(tmp_path / "a.gif", frames, seconds=2)
    with Image.open(tmp_path / "a.gif") as animation:
        assert getattr(animation, "n_frames", 1) == 5
        assert animation.info["loop"] == 0
        assert animation.info["duration"] == 400


def test_without_matplotlib_the_error_names_the_command(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(UsrnetError, match=r"pip install 'usrnet\[viz\]'"):
        kernel_figure([kernels.delta()], ["delta"])


@pytest.mark.parametrize("shape", [(1, 14, 3), (14, 1), (1, 1)])
def test_a_line_of_pixels_has_a_busiest_part(shape):
    assert drawing.busiest(np.arange(np.prod(shape)).reshape(shape), 1) == (0, 0)
