"""The network: tensors in, tensors out, no files."""

from usrnet.model.data_step import DataStep, data_step
from usrnet.model.hyper import HalfQuadraticSchedule, HyPaNet
from usrnet.model.prior import ResUNet, TotalVariation
from usrnet.model.usrnet import CONFIGS, Config, Unfolding, USRNet, total_variation

__all__ = [
    "CONFIGS",
    "Config",
    "DataStep",
    "HalfQuadraticSchedule",
    "HyPaNet",
    "ResUNet",
    "TotalVariation",
    "USRNet",
    "Unfolding",
    "data_step",
    "total_variation",
]
