"""A napari plugin: the active image layer, deblurred and enlarged, a stack slice by slice.

napari finds it by ``napari.yaml`` beside this file (Plugins › USRNet).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import ComboBox, Container, FloatSpinBox, Label, LineEdit, PushButton
from napari.layers import Image
from napari.qt.threading import create_worker

from usrnet.errors import UsrnetError
from usrnet.kernels import SPEC
from usrnet.restoration import DEFAULT_NOISE_LEVEL, Observation, Restorer, observe

if TYPE_CHECKING:
    from napari.viewer import Viewer


class RestoreWidget(Container):
    """Scale, kernel and noise, and a button that restores the active layer into a new one."""

    def __init__(self, napari_viewer: "Viewer") -> None:
        self.viewer = napari_viewer
        self.scale = ComboBox(label="Scale", choices=(1, 2, 3, 4), value=1)
        self.kernel = LineEdit(label="Kernel", value="gaussian:1.5", tooltip=SPEC)
        self.noise = FloatSpinBox(label="Noise (0–255)", value=DEFAULT_NOISE_LEVEL, min=0, max=255, step=0.5)
        self.model = LineEdit(label="Model", value="default", tooltip="A name, a file, or hf:OWNER/NAME")
        self.run = PushButton(text="Restore the active layer")
        self.status = Label(value="")
        super().__init__(widgets=[self.scale, self.kernel, self.noise, self.model, self.run, self.status])
        self.run.changed.connect(self.start)
        self._restorer: tuple[str, Restorer] | None = None
        self.worker: Any = None

    def start(self) -> None:
        """Restore in the background; the button waits until it is done."""
        layer = self.viewer.layers.selection.active
        if not isinstance(layer, Image):
            self.status.value = "Select an image layer."
            return
        try:
            if self._restorer is None or self._restorer[0] != self.model.value:
                self._restorer = self.model.value, Restorer(self.model.value)
            kernel = self.kernel.value.strip() or None
            observation = observe(scale=int(self.scale.value), kernel=kernel, noise_level=float(self.noise.value))
        except UsrnetError as error:
            self.status.value = str(error)
            return
        data, rgb = layer.data[0] if layer.multiscale else layer.data, layer.rgb
        self.run.enabled = False
        self.worker = create_worker(restore_planes, self._restorer[1], data, observation, rgb=rgb)
        self.worker.yielded.connect(lambda step: setattr(self.status, "value", f"{step[0]} of {step[1]} …"))
        self.worker.returned.connect(lambda result: self._show(layer, observation.scale, result))
        self.worker.errored.connect(lambda error: setattr(self.status, "value", str(error)))
        self.worker.finished.connect(lambda: setattr(self.run, "enabled", True))
        self.worker.start()

    def _show(self, layer: Image, scale: int, result: np.ndarray) -> None:
        """The result as a layer that lies on the one it was made of."""
        step, origin = np.array(layer.scale, float), np.array(layer.translate, float)
        # A pixel is an area: the first of s small ones lies (s − 1) / (2 s) of a large one before its middle.
        origin[-2:] -= step[-2:] * (scale - 1) / (2 * scale)
        step[-2:] /= scale
        shown = {} if layer.rgb else {"colormap": layer.colormap.name}
        self.viewer.add_image(
            result, name=f"{layer.name} ×{scale}", rgb=layer.rgb, scale=step, translate=origin, **shown
        )  # fmt: skip
        self.status.value = "Done."


def restore_planes(
    restorer: Restorer, data: Any, observation: Observation, *, rgb: bool
) -> Iterator[tuple[int, int]]:
    """Every plane of an array …×H×W, or …×H×W×3 and ×4 if ``rgb``; returns …×sH×sW.

    8 and 16 bits without sign stay what they are. Anything else is taken as it is in [0,1], and brought there by the
    range of the whole array if it is not; the answer is float32. Yields how many planes are done, and of how many.
    """
    shape, s = data.shape, observation.scale
    trailing = shape[-1:] if rgb else ()
    *leading, height, width = shape[: len(shape) - len(trailing)]
    planes = [tuple(map(int, index)) for index in np.ndindex(*leading)]
    plain = np.dtype(data.dtype) in (np.uint8, np.uint16)
    low, high = 0.0, 1.0
    if not plain:
        low = min(0.0, *(float(np.min(np.asarray(data[index]))) for index in planes))
        high = max(1.0, *(float(np.max(np.asarray(data[index]))) for index in planes))
    result = np.empty((*leading, s * height, s * width, *trailing), data.dtype if plain else np.float32)
    for done, index in enumerate(planes):
        yield done, len(planes)
        plane = np.asarray(data[index])
        if not plain:
            plane = ((plane.astype(np.float64) - low) / (high - low)).astype(np.float32)
        restored = restorer.restore(plane, observation)
        result[index] = restored if plain else restored * (high - low) + low
    return result
