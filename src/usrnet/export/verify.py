"""An exported file against the model that it was made of, by running both."""

import os
from dataclasses import dataclass

import numpy as np
import torch

from usrnet.export.runtime import OnnxNetwork
from usrnet.model import USRNet

CASES = (  # batch, height, width, kernel's channels, height, width: odd and even, small and large
    (1, 24, 32, 1, 11, 11),
    (2, 27, 37, 1, 25, 25),
    (1, 31, 18, 3, 12, 7),
)


@dataclass(frozen=True)
class Difference:
    """The largest absolute difference in one case; images are in [0,1].

    Attributes
    ----------
    picture : tuple of int
        Batch, height and width.
    kernel : tuple of int
        Channels, height and width.
    largest : float
        The difference, 1/255 being a grey level.

    Examples
    --------
    >>> from usrnet.export import Difference
    >>> Difference(picture=(1, 24, 32), kernel=(1, 11, 11), largest=2e-6).largest < 1 / 255
    True
    """

    picture: tuple[int, int, int]  # batch, height, width
    kernel: tuple[int, int, int]  # channels, height, width
    largest: float


def verify(
    model: USRNet, path: str | os.PathLike[str], *, cases: tuple[tuple[int, ...], ...] = CASES, seed: int = 0
) -> list[Difference]:
    """Run a file in onnxruntime and its model in torch on the same random input, noise level 0 to 10.

    Parameters
    ----------
    model : USRNet
        What the file was made of.
    path : str or os.PathLike
        The file.
    cases : tuple of tuple of int
        Batch, height, width of the image; channels, height, width of the kernel.
    seed : int
        Of the input.

    Returns
    -------
    list of Difference
        One for each case.

    Raises
    ------
    UsrnetError
        The file cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> import usrnet
    >>> from usrnet import export
    >>> model = usrnet.load("default")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = export.to_onnx(model, f"{folder}/x2.onnx", scale=2)
    ...     [found] = export.verify(model, path, cases=((1, 16, 16, 1, 5, 5),))
    >>> found.largest < 1e-4
    True
    """
    network = OnnxNetwork(path)
    generator = np.random.default_rng(seed)
    found = []
    for batch, height, width, channels, kh, kw in cases:
        picture = generator.random((batch, 3, height, width), np.float32)
        kernel = generator.random((batch, channels, kh, kw), np.float32) ** 4
        kernel /= kernel.sum(axis=(-2, -1), keepdims=True)
        sigma = np.linspace(0, 10 / 255, batch, dtype=np.float32).reshape(-1, 1, 1, 1)
        with torch.inference_mode():
            tensors = (torch.from_numpy(array) for array in (picture, kernel, sigma))
            y, k, s = tensors
            expected = model(y, k, network.scale, s).numpy()
        largest = float(np.abs(network(picture, kernel, sigma) - expected).max())
        found.append(Difference((batch, height, width), (channels, kh, kw), largest))
    return found
