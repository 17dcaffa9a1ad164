"""Restore a picture with numpy, Pillow and onnxruntime: python onnx_restore.py usrnet_x2.onnx small.png large.png"""

import sys

import numpy as np
import onnxruntime
from PIL import Image

network, source, target = sys.argv[1:]
session = onnxruntime.InferenceSession(network)
scale = int(session.get_modelmeta().custom_metadata_map["usrnet.scale"])
centre, width = 12 - (scale - 1) / 2, {1: 0.4, 2: 0.7, 3: 1.5, 4: 2.0}[scale]  # a mild blur, placed for the scale
line = np.exp(-((np.arange(25) - centre) ** 2) / (2 * width**2))
kernel = np.outer(line, line)[None, None] / line.sum() ** 2
small = np.asarray(Image.open(source).convert("RGB"))
padded = np.pad(small, ((16, 16), (16, 16), (0, 0)), mode="symmetric")  # the network wraps around
grey = (small == small[..., :1]).all()  # noise that is the same in all channels is told as more: docs/export.md
sigma = np.full((1, 1, 1, 1), (4 if grey else 2) / 255)
inputs = {"picture": padded.transpose(2, 0, 1)[None] / 255, "kernel": kernel, "sigma": sigma}
restored = np.asarray(session.run(None, {name: value.astype(np.float32) for name, value in inputs.items()})[0])
large = restored[0, :, 16 * scale : -16 * scale, 16 * scale : -16 * scale].transpose(1, 2, 0)
Image.fromarray((large.clip(0, 1) * 255).round().astype(np.uint8)).save(target)
