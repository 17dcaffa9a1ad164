"""Figures: kernels, the unfolding at work, speed."""
