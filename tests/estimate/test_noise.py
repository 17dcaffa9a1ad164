from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from usrnet import io
from usrnet.estimate import masks, noise
from usrnet.io.jpeg import jpeg_of


@pytest.fixture(scope="module")
def blurred(photo) -> np.ndarray:
    return ndimage.gaussian_filter(photo[:256, :256].astype(float), (1.6, 1.6, 0))


@pytest.mark.parametrize("level", [1.0, 2.55, 7.65, 15.0])
def test_noise_is_found_on_a_blurred_photo(blurred, level):
    noisy = (blurred + level * np.random.default_rng(0).normal(size=blurred.shape)).round().clip(0, 255)
    assert noise.measure(noisy).level == pytest.approx(level, rel=0.12)


def test_noise_that_differs_between_channels(blurred):
    levels = np.array([2.0, 5.0, 9.0])
    noisy = blurred + levels * np.random.default_rng(0).normal(size=blurred.shape)
    found = noise.measure(noisy, rounding=0)
    assert found.channels == pytest.approx(levels, rel=0.15)
    assert found.level == pytest.approx(np.sqrt(np.mean(levels**2)), rel=0.1)


def test_flat_and_clipped_blocks_do_not_count(blurred):
    noisy = (blurred + 4 * np.random.default_rng(0).normal(size=blurred.shape)).round().clip(0, 255)
    noisy[:60] = 0
    noisy[:, :50] = 255
    noisy[200:] = 90
    found = noise.measure(noisy)
    assert found.level == pytest.approx(4, rel=0.12)
    assert found.certain
    assert not noise.measure(np.zeros((40, 40, 1))).certain


@pytest.mark.parametrize("quality", [60, 75, 90, 95])
@pytest.mark.parametrize("level", [2.55, 7.65])
def test_the_error_of_a_jpeg(photo, quality, level):
    picture = photo[:256, :256].astype(float)
    noisy = (picture + level * np.random.default_rng(0).normal(size=picture.shape)).round().clip(0, 255)
    buffer = BytesIO()
    Image.fromarray(noisy.astype(np.uint8)).save(buffer, "JPEG", quality=quality, subsampling=0)
    with Image.open(buffer) as image:
        jpeg, pixels = jpeg_of(image), np.asarray(image).astype(float)
    assert jpeg is not None
    assert masks.quality_of(jpeg.tables[0]) == quality
    assert (jpeg.tables[0] == masks.luma_table(quality)).all()
    real = np.sqrt(np.mean((pixels - picture) ** 2))
    found = noise.measure(pixels, tables=jpeg.tables).level
    assert found == pytest.approx(real, rel=0.4)


def test_only_jpeg_files_have_tables(photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "a.png")
    Image.fromarray(photo).save(tmp_path / "a.jpg")
    assert io.read(tmp_path / "a.png").metadata.jpeg is None
    found = io.read(tmp_path / "a.jpg").metadata.jpeg
    assert found is not None
    assert found.subsampled
    assert io.from_any(photo).metadata.jpeg is None


def test_what_rounding_loses():
    rng = np.random.default_rng(0)
    for scale in (0.2, 1.0, 5.0):
        values = rng.laplace(scale=scale, size=400_000)
        real = np.mean((values - values.round()) ** 2)
        assert noise._lost(np.array([-1 / scale]))[0] == pytest.approx(real, rel=0.05)
