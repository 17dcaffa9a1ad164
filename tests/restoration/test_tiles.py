import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from usrnet.restoration.tiles import spans


@given(
    st.integers(1, 3000), st.integers(16, 600), st.integers(0, 80), st.sampled_from([1, 2, 3, 4]),
    st.sampled_from([1, 4, 8]),
)  # fmt: skip
def test_weights_sum_to_one_and_spans_lie_inside(length, tile, halo, scale, grid):
    total = np.zeros(length * scale)
    for span in spans(length, tile, halo, grid):
        assert 0 <= span.first <= span.start < span.stop <= span.last <= length
        assert span.first % grid == 0
        assert min(halo, span.start) <= span.start - span.first < min(halo, span.start) + grid
        assert span.last - span.stop == min(halo, length - span.stop)
        total[span.start * scale : span.stop * scale] += span.weights(scale)
    assert np.abs(total - 1).max() < 1e-6


def test_parts_are_equal_and_in_order():
    cuts = [(span.start, span.stop) for span in spans(300, 64, 8)]
    assert cuts == [(0, 64), (56, 124), (116, 184), (176, 244), (236, 300)]
