"""The degradation model ``y = (x ⊗ k)↓s + n``: the operator on tensors, and pictures degraded by it."""

from usrnet.degradation.images import bicubic_shrink, degrade
from usrnet.degradation.operator import (
    SCALES,
    Degradation,
    check_noise_level,
    check_room,
    check_scale,
    degrade_batch,
    fold,
    otf,
    unfold,
    whole,
)

__all__ = [
    "SCALES",
    "Degradation",
    "bicubic_shrink",
    "check_noise_level",
    "check_room",
    "check_scale",
    "degrade",
    "degrade_batch",
    "fold",
    "otf",
    "unfold",
    "whole",
]
