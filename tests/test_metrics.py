import json

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from usrnet import metrics
from usrnet.errors import UsrnetError


def test_matches_the_published_code(shared):
    expected = json.loads((shared / "oracle" / "metrics.json").read_text())
    baby = np.asarray(Image.open(shared / "data" / "set5" / "baby.bmp"))
    a, b = baby[:200, :200], baby[2:202, 1:201]
    assert metrics.psnr(a, b, border=4) == pytest.approx(expected["psnr_border4"], abs=1e-6)
    assert metrics.psnr(a, b, border=4, y=True) == pytest.approx(expected["psnr_y_border4"], abs=1e-6)
    assert metrics.ssim(a, b, border=4) == pytest.approx(expected["ssim_border4"], abs=1e-4)
    assert metrics.ssim(a, b, border=4, y=True) == pytest.approx(expected["ssim_y_border4"], abs=1e-4)


def test_agrees_with_scikit_image(photo):
    noisy = np.clip(photo + np.random.default_rng(0).normal(0, 10, photo.shape), 0, 255).astype(np.uint8)
    assert metrics.psnr(noisy, photo) == pytest.approx(peak_signal_noise_ratio(photo, noisy))
    expected = structural_similarity(
        photo.astype(float), noisy.astype(float), data_range=255, channel_axis=-1,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    assert metrics.ssim(noisy, photo) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_scale_follows_the_type(photo, dtype):
    peak = 1 if dtype is np.float32 else np.iinfo(dtype).max
    a = (photo / 255 * peak).astype(dtype)
    b = (photo[::-1] / 255 * peak).astype(dtype)
    assert metrics.psnr(a, b) == pytest.approx(metrics.psnr(photo, photo[::-1]), abs=0.01)


def test_equal_pictures(photo):
    assert metrics.psnr(photo, photo) == float("inf")
    assert metrics.ssim(photo, photo, y=True) == pytest.approx(1)


@pytest.mark.parametrize(
    ("shapes", "border", "text"),
    [
        (((9, 9), (9, 8)), 0, "different shapes"),
        (((9, 9), (9, 9)), 5, "leaves nothing"),
        (((9, 9), (9, 9)), 0, "11×11"),
    ],
)
def test_what_cannot_be_compared(shapes, border, text):
    with pytest.raises(UsrnetError, match=text):
        metrics.ssim(np.zeros(shapes[0]), np.zeros(shapes[1]), border=border)


def test_integers_without_a_white_are_refused():
    with pytest.raises(UsrnetError, match="not int64"):
        metrics.psnr(np.zeros((20, 20), np.int64), np.ones((20, 20), np.int64))
