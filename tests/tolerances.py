"""One table of tolerances for all tests."""

import torch

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-6}
"""The largest absolute difference from a float64 reference that is rounding, for pictures in [0,1]."""
