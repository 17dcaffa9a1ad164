"""An exported network in onnxruntime: arrays in, arrays out, no torch."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from usrnet.degradation import check_room
from usrnet.errors import UsrnetError, require
from usrnet.model.usrnet import check_shapes


class OnnxNetwork:
    """A file of :func:`usrnet.export.to_onnx` in onnxruntime, ready to run on a CPU.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    threads : int
        Of onnxruntime; all cores if 0.

    Attributes
    ----------
    scale : int
        The scale factor that the file is for.
    config : dict
        The sizes of the network.

    Raises
    ------
    UsrnetError
        The file is missing, not one of ours, or asks for more than the installed onnxruntime knows.

    Examples
    --------
    >>> import tempfile
    >>> import usrnet
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = usrnet.export.to_onnx("default", f"{folder}/x3.onnx", scale=3)
    ...     usrnet.export.OnnxNetwork(path).scale
    3
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int = 0) -> None:
        runtime = require("onnxruntime", extra="export")
        self.path = Path(path)
        if not self.path.is_file():
            raise UsrnetError(f"there is no file {self.path}")
        options: Any = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self.session: Any = runtime.InferenceSession(
                self.path, options, providers=["CPUExecutionProvider"]
            )  # fmt: skip
        except Exception as error:  # of the runtime's own types, which are not public
            reason = str(error).splitlines()[0]
            raise UsrnetError(f"onnxruntime {runtime.__version__} cannot open {self.path}: {reason}") from error
        metadata: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
        if "usrnet.scale" not in metadata:
            raise UsrnetError(f"{self.path} was not written by usrnet export: its metadata has no usrnet.scale")
        self.metadata = {key.removeprefix("usrnet."): value for key, value in metadata.items()}
        self.scale = int(self.metadata["scale"])
        self.config: dict[str, Any] = json.loads(self.metadata["config"])

    def __call__(self, picture: np.ndarray, kernel: np.ndarray, sigma: np.ndarray | float) -> np.ndarray:
        """Restore a batch of images, which wrap around.

        Parameters
        ----------
        picture : ndarray, N×3×h×w
            In [0,1].
        kernel : ndarray, N×1×kh×kw or N×3×kh×kw
            Kernels that sum to one; N = 1 serves the batch.
        sigma : ndarray, N×1×1×1 or N, or float
            Standard deviation of the noise in [0,1].

        Returns
        -------
        ndarray, N×3×sh×sw
            Float32, not clipped.

        Raises
        ------
        UsrnetError
            The kernel is larger than the enlarged image, or shapes do not fit.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> import usrnet
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     network = usrnet.export.OnnxNetwork(usrnet.export.to_onnx("default", f"{folder}/x2.onnx", scale=2))
        >>> network(np.zeros((1, 3, 16, 24)), np.ones((1, 1, 1, 1)), 0.01).shape
        (1, 3, 32, 48)
        """
        y, k, levels = (np.asarray(array, np.float32) for array in (picture, kernel, sigma))
        levels = levels.reshape(-1, 1, 1, 1) if levels.ndim < 2 else levels
        check_shapes(y, k, self.scale, levels)
        if y.shape[1] != 3:
            raise UsrnetError(f"the pictures must have three channels, N×3×h×w, not {y.shape}: repeat a grey one")
        if levels.shape[-2:] != (1, 1):
            raise UsrnetError(f"sigma must be N×1×1×1, not {levels.shape}: only the model in torch takes a map of it")
        check_room(k, self.scale * y.shape[2], self.scale * y.shape[3])
        return self.session.run(None, {"picture": y, "kernel": k, "sigma": levels})[0]
