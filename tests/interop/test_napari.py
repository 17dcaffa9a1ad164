"""The napari plugin, offscreen. In an environment with napari: make test-interop.

Qt's offscreen platform has no OpenGL, which napari draws layers with. So the window that the dock widget opens in is
real, and where layers are restored the viewer is napari's own model of it, which has everything but the drawing.
"""

import os
import time

import numpy as np
import pytest

import usrnet

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
napari = pytest.importorskip("napari")
npe2 = pytest.importorskip("npe2")

from usrnet.interop.napari import RestoreWidget  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def viewer():
    from napari.components import ViewerModel
    from napari.qt import get_qapp

    get_qapp()  # workers report to it
    return ViewerModel()


@pytest.fixture
def window():
    made = napari.Viewer(show=False)
    yield made
    made.close()


def wait(widget: RestoreWidget) -> None:
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + 120
    while not (widget.run.enabled and widget.find.enabled):
        assert time.monotonic() < end, "the worker does not finish"
        application = QApplication.instance()
        assert application is not None
        application.processEvents()
        time.sleep(0.01)


def test_the_manifest_is_valid_and_its_widget_opens(window) -> None:
    manifest = npe2.PluginManifest.from_file(usrnet.__path__[0] + "/interop/napari.yaml")
    manager = npe2.PluginManager.instance()
    if "usrnet" not in manager:
        manager.register(manifest)
    _, widget = window.window.add_plugin_dock_widget("usrnet", "Deblur and enlarge")
    assert isinstance(widget, RestoreWidget)
    assert widget.viewer == window


def test_a_colour_picture(viewer, photo: np.ndarray) -> None:
    small = usrnet.degrade(photo[64:128, 100:164], "gaussian:1.6", scale=2, noise_level=2)
    viewer.add_image(small, name="soft", scale=(0.5, 0.5), translate=(10, 20))
    widget = RestoreWidget(viewer)
    widget.scale.value, widget.kernel.value, widget.noise.value = 2, "gaussian:1.6", 2.0
    widget.run.changed.emit(True)  # noqa: FBT003
    wait(widget)
    assert widget.status.value == "Done."
    layer = viewer.layers[-1]
    assert layer.name == "soft ×2"
    np.testing.assert_array_equal(
        layer.data, usrnet.restore(small, scale=2, kernel="gaussian:1.6", noise_level=2)
    )  # fmt: skip
    # Both layers cover the same part of the world.
    np.testing.assert_allclose(layer.extent.world, viewer.layers["soft"].extent.world, atol=0.3)
    np.testing.assert_allclose(layer.scale, (0.25, 0.25))
    np.testing.assert_allclose(layer.translate, (10 - 0.125, 20 - 0.125))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.int32])
def test_a_stack_is_restored_slice_by_slice(viewer, photo: np.ndarray, dtype: type) -> None:
    plane = usrnet.degrade(photo[64:112, 100:140, 1].astype(np.uint16) * 257, "gaussian:1.2", scale=1, noise_level=1)
    stack = np.stack([plane, plane[::-1], plane[:, ::-1]]).astype(dtype)
    viewer.add_image(stack, name="z", colormap="green")
    widget = RestoreWidget(viewer)
    widget.kernel.value = "gaussian:1.2"
    widget.start()
    wait(widget)
    layer = viewer.layers[-1]
    assert layer.data.shape == (3, 48, 40)
    assert layer.data.dtype == (np.uint16 if dtype is np.uint16 else np.float32)
    assert layer.colormap.name == "green"
    for index in range(3):
        alone = usrnet.restore(stack[index].astype(np.uint16), scale=1, kernel="gaussian:1.2", noise_level=2)
        assert np.abs(layer.data[index].astype(float) - alone).mean() < 700  # of 65535: the range is the stack's own


def test_find_fills_in_blur_and_noise(viewer, photo: np.ndarray) -> None:
    soft = usrnet.degrade(photo, "gaussian:2.5", scale=1, noise_level=6)
    viewer.add_image(soft, name="soft")
    widget = RestoreWidget(viewer)
    widget.find.changed.emit(True)  # noqa: FBT003
    assert not widget.run.enabled
    wait(widget)
    guess = usrnet.estimate(soft, scale=1)
    assert widget.kernel.value == guess.text
    assert widget.noise.value == pytest.approx(guess.noise_level, abs=0.01)
    assert widget.status.value == f"Found {guess}."
    assert guess.widths[1] > 1.5  # the layer's blur, not the default, which is 0.4
    assert widget.noise.value == pytest.approx(6, rel=0.15)
    widget.start()
    wait(widget)
    expected = usrnet.restore(soft, scale=1, kernel=guess.text, noise_level=widget.noise.value)
    np.testing.assert_array_equal(viewer.layers[-1].data, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_find_looks_at_the_slice_that_is_shown(viewer, photo: np.ndarray, dtype: type) -> None:
    grey = photo[..., 1]
    planes = [usrnet.degrade(grey, f"gaussian:{width}", scale=1, noise_level=3) for width in (1.2, 3.5)]
    viewer.add_image(np.zeros((4, 5, *grey.shape), np.uint8))  # a layer with more axes stands beside it
    viewer.add_image(np.stack(planes).astype(dtype))
    widget, found = RestoreWidget(viewer), {}
    for index in (0, 1):
        viewer.dims.set_current_step(1, index)
        widget.start_to_find()
        wait(widget)
        found[index] = widget.kernel.value
        assert found[index] == usrnet.estimate(planes[index], scale=1).text
    assert found[0] != found[1]


def test_mistakes_are_said_in_the_widget(viewer) -> None:
    widget = RestoreWidget(viewer)
    widget.start()
    assert widget.status.value == "Select an image layer."
    widget.status.value = ""
    widget.start_to_find()
    assert widget.status.value == "Select an image layer."
    viewer.add_image(np.zeros((8, 8), np.uint8))
    widget.kernel.value = "gausian:2"
    widget.start()
    assert "gausian" in widget.status.value
    widget.kernel.value, widget.model.value = "gaussian:2", "no-such-model"
    widget.start()
    assert "no-such-model" in widget.status.value
    assert widget.run.enabled
