"""The network for other runtimes: one ONNX file per scale, any size of picture, kernel and batch."""

from usrnet.export.onnx import DEFAULT_OPSET, to_onnx
from usrnet.export.runtime import OnnxNetwork
from usrnet.export.verify import Difference, verify

__all__ = ["DEFAULT_OPSET", "Difference", "OnnxNetwork", "to_onnx", "verify"]
