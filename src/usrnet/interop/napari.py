"""A napari plugin: the active image layer, deblurred and enlarged, a stack slice by slice.

napari finds it by ``napari.yaml`` beside this file (Plugins › USRNet).
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import ComboBox, Container, FloatSpinBox, Label, LineEdit, PushButton
from napari.layers import Image
from napari.qt.threading import create_worker

from usrnet.errors import UsrnetError
from usrnet.estimate import Estimate, estimate, noise_to_feed
from usrnet.kernels import SPEC
from usrnet.restoration import DEFAULT_NOISE_LEVEL, Observation, Restorer, observe

if TYPE_CHECKING:
    from napari.viewer import Viewer


class RestoreWidget(Container):
    """Scale, kernel and noise, a button that finds the two in the active layer, and one that restores it."""

    def __init__(self, napari_viewer: "Viewer") -> None:
        self.viewer = napari_viewer
        self.scale = ComboBox(label="Scale", choices=(1, 2, 3, 4), value=1)
        self.kernel = LineEdit(label="Kernel", value="gaussian:1.5", tooltip=SPEC)
        self.noise = FloatSpinBox(label="Noise (0–255)", value=DEFAULT_NOISE_LEVEL, min=0, max=255, step=0.5)
        self.find = PushButton(text="Find", tooltip="Kernel and noise from what is shown of the active layer")
        self.model = LineEdit(label="Model", value="default", tooltip="A name, a file, or hf:OWNER/NAME")
        self.run = PushButton(text="Restore the active layer")
        self.status = Label(value="")
        super().__init__(
            widgets=[self.scale, self.kernel, self.noise, self.find, self.model, self.run, self.status]
        )  # fmt: skip
        self.find.changed.connect(self.start_to_find)
        self.run.changed.connect(self.start)
        self._restorer: tuple[str, Restorer] | None = None
        self.worker: Any = None

    def start_to_find(self) -> None:
        """Look for blur and noise in the background, in the slice that is shown, and fill in the fields."""
        layer = self._layer()
        if layer is None:
            return
        data = layer.data[0] if layer.multiscale else layer.data
        leading = data.ndim - (3 if layer.rgb else 2)
        # The axes of a layer are the last ones of the viewer.
        shown = tuple(self.viewer.dims.current_step[-layer.ndim :][:leading]) if leading else ()
        shown = tuple(min(max(step, 0), length - 1) for step, length in zip(shown, data.shape[:leading], strict=True))
        self.status.value = "Looking …"
        scale = int(self.scale.value)
        self._launch({"returned": self._found}, find_in_plane, data, shown, scale=scale, rgb=layer.rgb)

    def start(self) -> None:
        """Restore in the background; the buttons wait until it is done."""
        layer = self._layer()
        if layer is None:
            return
        try:
            if self._restorer is None or self._restorer[0] != self.model.value:
                self._restorer = self.model.value, Restorer(self.model.value)
            kernel = self.kernel.value.strip() or None
            observation = observe(scale=int(self.scale.value), kernel=kernel, noise_level=float(self.noise.value))
        except UsrnetError as error:
            self.status.value = str(error)
            return
        data = layer.data[0] if layer.multiscale else layer.data
        connect = {
            "returned": lambda result: self._show(layer, observation.scale, result),
            "yielded": lambda step: setattr(self.status, "value", f"{step[0]} of {step[1]} …"),
        }
        self._launch(connect, restore_planes, self._restorer[1], data, observation, rgb=layer.rgb)

    def _launch(self, connect: dict[str, Callable[..., Any]], function: Any, *arguments: Any, **options: Any) -> None:
        """Call a function in another thread; ``connect``: who is told of what it yields and returns."""
        self.find.enabled = self.run.enabled = False
        connect = {
            **connect,
            "errored": lambda error: setattr(self.status, "value", str(error)),
            "finished": self._finished,
        }
        self.worker = create_worker(function, *arguments, _start_thread=True, _connect=connect, **options)

    def _finished(self) -> None:
        self.find.enabled = self.run.enabled = True

    def _layer(self) -> Image | None:
        layer = self.viewer.layers.selection.active
        if isinstance(layer, Image):
            return layer
        self.status.value = "Select an image layer."
        return None

    def _found(self, found: Estimate) -> None:
        self.kernel.value = found.text or "delta"
        self.noise.value = round(noise_to_feed(found.noise_level), 2)
        self.status.value = f"Found {found}."

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
    leading, trailing, height, width = _axes(data, rgb=rgb)
    planes = [tuple(map(int, index)) for index in np.ndindex(*leading)]
    plain, (low, high), s = _is_plain(data), _range(data, leading), observation.scale
    result = np.empty((*leading, s * height, s * width, *trailing), data.dtype if plain else np.float32)
    for done, index in enumerate(planes):
        yield done, len(planes)
        restored = restorer.restore(_plane(data, index, low, high), observation)
        result[index] = restored if plain else restored * (high - low) + low
    return result


def find_in_plane(data: Any, index: tuple[int, ...], *, scale: int, rgb: bool) -> Estimate:
    """Blur and noise of one plane, whose values are taken as ``restore_planes`` takes them."""
    leading, *_ = _axes(data, rgb=rgb)
    return estimate(_plane(data, index, *_range(data, leading)), scale=scale)


def _axes(data: Any, *, rgb: bool) -> tuple[tuple[int, ...], tuple[int, ...], int, int]:
    """Lengths of the axes before and after height and width, and these."""
    trailing = tuple(data.shape[-1:]) if rgb else ()
    *leading, height, width = data.shape[: data.ndim - len(trailing)]
    return tuple(leading), trailing, height, width


def _is_plain(data: Any) -> bool:
    return np.dtype(data.dtype) in (np.uint8, np.uint16)


def _range(data: Any, leading: tuple[int, ...]) -> tuple[float, float]:
    """What becomes 0 and 1, plane by plane: the data need not fit into memory."""
    if _is_plain(data):
        return 0.0, 1.0
    low, high = 0.0, 1.0
    for index in np.ndindex(*leading):
        plane = np.asarray(data[index])
        low, high = min(low, float(plane.min())), max(high, float(plane.max()))
    return low, high


def _plane(data: Any, index: tuple[int, ...], low: float, high: float) -> np.ndarray:
    plane = np.asarray(data[index])
    return plane if _is_plain(data) else ((plane.astype(np.float64) - low) / (high - low)).astype(np.float32)
