import numpy as np
import pytest
from scipy import ndimage

import usrnet
from usrnet import kernels
from usrnet.estimate import covariance, estimate_parts, shake
from usrnet.estimate.estimator import shaken
from usrnet.restoration import Restorer


def circular(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return np.stack([shake._blur(picture[..., c], kernel) for c in range(picture.shape[2])], -1)


def test_the_kernel_that_leads_from_sharp_to_blurred(photo):
    sharp = photo[:160, 100:260].astype(float) / 255
    kernel = kernels.motion(7)
    found = shake.kernel_step([sharp], [circular(sharp, kernel)])
    assert found.sum() == pytest.approx(1)
    assert found.min() >= 0
    assert shake.correlation(found, kernel) > 0.95


def test_the_kernel_is_not_flipped(photo):
    sharp = photo[:160, 100:260].astype(float) / 255
    kernel = np.zeros((9, 9))
    kernel[4, 4:] = [5, 4, 3, 2, 1]
    kernel[4:, 4] += [0, 1, 1, 0, 0]
    found = shake.kernel_step([sharp], [circular(sharp, kernel / kernel.sum())])
    assert shake.correlation(found, kernel) > 0.95
    assert shake.correlation(found, kernel[::-1, ::-1]) < 0.95


def test_the_pyramid_finds_a_first_kernel(photo):
    sharp = np.asarray(ndimage.zoom(photo.astype(float) / 255, (0.6, 0.6, 1), order=1))
    kernel = kernels.gaussian(2.5, 0.8, 30)
    first = shake.pyramid(circular(sharp, kernel).mean(axis=2), 1 / 255, weight=4e-3)
    assert first.shape == (shake.SIDE, shake.SIDE)
    assert first.sum() == pytest.approx(1)
    assert shake.correlation(first, kernel) > 0.6


@pytest.mark.parametrize("kernel", [kernels.line(11, 30), kernels.motion(7)])
def test_the_spectrum_finds_a_first_kernel_up_to_its_mirror_image(kernel):
    rng = np.random.default_rng(0)
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(384), np.fft.fftfreq(384)))
    frequencies[0, 0] = 1
    scene = np.fft.ifft2(np.fft.fft2(rng.normal(size=(384, 384))) / frequencies).real  # as photos are in the mean
    blurred = shake._blur(0.5 + 0.15 * scene / scene.std(), kernel) + rng.normal(size=scene.shape) / 255
    first = shake.of_spectrum(blurred, 1 / 255)
    assert {one.shape for one in first} == {(shake.SIDE, shake.SIDE)}
    assert [one.sum() for one in first] == pytest.approx([1] * len(first))
    assert shake.correlation(first[0], first[1][::-1, ::-1]) > 0.99
    assert max(shake.correlation(one, kernel) for one in first) > 0.8


def test_turns_from_coarse_to_fine_find_a_first_kernel(photo):
    kernel = kernels.motion(3)
    blurred = circular(photo.astype(float) / 255, kernel)[:192, :192]
    restore = shake.restoring(Restorer("default", tile="off"))
    first = shake.coarse_to_fine(blurred, restore=restore, down=False)
    assert first.shape == (shake.SIDE, shake.SIDE)
    assert shake.correlation(first, kernel) > 0.6


def test_a_sharp_picture_has_the_smaller_sparsity(photo):
    sharp = photo.astype(float) / 255
    values = [shake.sparsity(circular(sharp, kernels.gaussian(width, width, 0))) for width in (0.3, 1, 2, 4)]
    assert values == sorted(values)
    assert shake.sparsity(np.zeros((40, 40, 3))) == 0


@pytest.mark.parametrize("value", [0, 255])
def test_a_picture_of_one_colour_has_starts_all_the_same(value):
    flat = np.full((128, 128, 3), value / 255)
    found = shake.starts(flat, flat, sigma=1, restore=lambda picture, kernel, level: picture)
    assert all(np.isfinite(one).all() and one.sum() == pytest.approx(1) for one in found)


def test_the_kernel_of_a_shaken_photo_is_found(photo):
    kernel = kernels.motion(3)
    blurred = usrnet.degrade(photo, kernel, scale=1, noise_level=2)
    found = usrnet.estimate(blurred, scale=1, shake="try", restorer=Restorer("default", tile="off"))
    assert shake.correlation(found.kernel, kernel) > 0.8
    assert any("camera shake" in note for note in found.notes)


def test_auto_looks_for_shake_where_a_photo_looks_shaken(photo, monkeypatch, tmp_path):
    searched = []

    def found(seen, *, noise_level, restore):
        searched.append(seen.shape)
        return shake.Shake(kernels.motion(3), accepted=True, reason="", residual=1, swing=0, agreement=0.9)

    monkeypatch.setattr(shake, "find", found)
    shaken_photo = usrnet.degrade(photo, "motion:5", scale=1, noise_level=2.55)
    assert usrnet.estimate(shaken_photo, scale=1).text is None
    assert len(searched) == 1
    result = usrnet.restore(shaken_photo, scale=1, kernel="auto", model="tv", noise_level="auto")
    assert len(searched) == 2
    assert result.shape == shaken_photo.shape

    usrnet.estimate(shaken_photo, scale=1, shake="off")
    usrnet.estimate(shaken_photo, scale=2)
    usrnet.estimate(usrnet.degrade(photo, "gaussian:1.5", scale=1, noise_level=2.55), scale=1)
    usrnet.restore(shaken_photo, scale=1, kernel="gaussian:1", model="tv", noise_level="auto")
    assert len(searched) == 2


def test_a_shake_is_enlarged_and_placed_for_the_scale(photo, monkeypatch):
    kernel = kernels.motion(3)
    accepted = shake.Shake(kernel, accepted=True, reason="", residual=1, swing=0, agreement=0.9)
    monkeypatch.setattr(shake, "find", lambda seen, *, noise_level, restore: accepted)
    found = usrnet.estimate(photo, scale=3, shake="try")
    assert found.kernel.sum() == pytest.approx(1)
    down, right = kernels.centre_of_mass(found.kernel)
    assert abs(down + 1) < 1.5  # a kernel is centred by whole pixels of its own grid
    assert abs(right + 1) < 1.5
    widths = [np.hypot(*covariance.axes(covariance.moments(one))[:2]) for one in (kernel, found.kernel)]
    assert widths[1] == pytest.approx(3 * widths[0], rel=0.05)


def test_an_estimate_says_what_became_of_the_search(photo):
    blurred = usrnet.degrade(photo[:128, 100:260], "motion:7", scale=1, noise_level=2)
    restorer = Restorer("default", tile="off")
    found = usrnet.estimate(blurred, scale=1, shake="try", restorer=restorer)
    assert found.kernel.sum() == pytest.approx(1)
    assert 0 <= found.confidence <= 1
    assert any("shake" in note for note in found.notes)
    small = usrnet.estimate(blurred[:100, :100], scale=1, shake="try", restorer=restorer)
    assert any("too small" in note for note in small.notes)


def test_dark_data_are_as_good_as_bright_ones(photo, monkeypatch):
    searched = []

    def nothing(seen, *, noise_level, restore):
        searched.append((seen, noise_level))
        return shake.Shake(kernels.delta(), accepted=False, reason="", residual=0, swing=0, agreement=0)

    monkeypatch.setattr(shake, "find", nothing)
    blurred = usrnet.degrade(photo[:160, 100:260], "motion:7", scale=1, noise_level=4)
    for pixels in (blurred, blurred.astype(np.uint16)):
        shaken(estimate_parts([pixels], scale=1), [pixels], Restorer("tv"))
    (bright, level), (dark, dark_level) = searched
    assert np.abs(dark - bright * dark.mean() / bright.mean()).mean() < 0.01
    assert dark_level == pytest.approx(level * dark.mean() / bright.mean(), rel=0.1)


def test_a_shift_does_not_matter_to_the_correlation():
    kernel = kernels.motion(3)
    assert shake.correlation(kernel, np.roll(kernel, (2, -1), (0, 1))) == pytest.approx(1, abs=0.01)
    assert shake.correlation(kernel, kernels.motion(4)) < 0.9
