import json

import numpy as np
import pytest

from usrnet import kernels, metrics
from usrnet.degradation import degrade
from usrnet.errors import UsrnetError, UsrnetWarning
from usrnet.restoration import Restorer, observe


def width(kernel: np.ndarray) -> float:
    grid = np.arange(kernel.shape[-1]) - kernel.shape[-1] // 2
    profile = kernel[0].sum(axis=0)
    return float((profile @ grid**2 - (profile @ grid) ** 2) ** 0.5)


def test_a_field_is_bilinear_between_the_middles_of_its_cells():
    field = kernels.field([["gaussian:1", "gaussian:2"], ["gaussian:1", "gaussian:2"]], scale=1)
    assert width(field.at(0.5, 0.0)) == pytest.approx(1, rel=0.01)
    assert width(field.at(0.1, 0.25)) == pytest.approx(1, rel=0.01)
    assert width(field.at(0.9, 0.5)) ** 2 == pytest.approx((1 + 4) / 2, rel=0.01)
    assert width(field.at(1.0, 0.9)) == pytest.approx(2, rel=0.01)
    part = field.part(0.5, 1, 0.5, 1)
    assert width(part.at(0.5, 0.5)) == pytest.approx(width(field.at(0.75, 0.75)))
    assert field.at(0.3, 0.4).sum() == pytest.approx(1)


def test_fields_from_files(tmp_path):
    stack = np.stack([kernels.gaussian(w) for w in (1, 1.5, 2, 2.5)])
    np.save(tmp_path / "stack.npy", stack)
    folder = tmp_path / "folder"
    folder.mkdir()
    for index, kernel in enumerate(stack):
        np.save(folder / f"psf{index}.npy", kernel)
    (tmp_path / "grid.json").write_text(
        json.dumps({"kernels": [["gaussian:1", "folder/psf1.npy"], ["folder/psf2.npy", "gaussian:2.5"]]})
    )
    for name in ("stack.npy", "folder", "grid.json"):
        field = kernels.load_field(tmp_path / name)
        assert field.taps.shape == (2, 2, 1, 25, 25)
        assert width(field.at(1, 0)) == pytest.approx(2, rel=0.01)


def test_bad_fields(tmp_path):
    with pytest.raises(UsrnetError, match="different sizes"):
        kernels.field([[kernels.gaussian(1), kernels.gaussian(1, size=31)]], scale=1)
    with pytest.raises(UsrnetError, match="same length"):
        kernels.field([["delta"], ["delta", "delta"]], scale=1)
    (tmp_path / "grid.json").write_text('{"kernel": 1}')
    with pytest.raises(UsrnetError, match="not a grid"):
        kernels.load_field(tmp_path / "grid.json")
    np.save(tmp_path / "three.npy", np.stack([kernels.gaussian(1)] * 3))
    with pytest.raises(UsrnetError, match="holds 3 kernels"):
        kernels.load_field(tmp_path / "three.npy")
    with pytest.raises(UsrnetError, match="corners"):
        kernels.widening(kernels.gaussian(1)[None], 9)


def test_corners_are_wider():
    field = kernels.widening(kernels.gaussian(1.5, scale=2)[None], 2)
    assert width(field.at(0.5, 0.5)) == pytest.approx(1.5, rel=0.03)
    assert 2.4 < width(field.at(0, 0)) < 3.1
    grid = np.arange(field.taps.shape[-1]) - field.taps.shape[-1] // 2
    assert field.at(0, 0)[0].sum(axis=0) @ grid == pytest.approx(-0.5, abs=0.05)  # the place for ×2 is kept


def varying(photo: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """``photo`` blurred by a width that grows from left to right, exact in every column."""
    levels = np.linspace(widths.min(), widths.max(), 12)
    blurred = np.stack([degrade(photo.astype(np.float32) / 255, kernels.gaussian(w), scale=1) for w in levels])
    place = np.interp(widths, levels, np.arange(len(levels)))
    first = place.astype(int).clip(0, len(levels) - 2)
    share = (place - first)[:, None]
    columns = np.arange(len(widths))
    both = blurred[first, :, columns] * (1 - share[..., None]) + blurred[first + 1, :, columns] * share[..., None]
    return both.transpose(1, 0, 2)


def test_a_field_beats_its_mean_and_leaves_no_seams(photo):
    side = 320
    truth = photo[:side, :side]
    widths = np.linspace(1, 2.5, side)
    noisy = varying(truth, widths) + np.random.default_rng(0).normal(0, 1.5 / 255, truth.shape)
    picture = (noisy.clip(0, 1) * 255).round().astype(np.uint8)
    middles = np.interp((np.arange(4) + 0.5) / 4, np.arange(side) / side, widths)
    field = kernels.field([[kernels.gaussian(w) for w in middles]] * 4, scale=1)
    restorer = Restorer("default", precision="fp32")
    options = {"scale": 1, "noise_level": 1.5, "saturation": "off"}
    local = restorer(picture, kernel=field, **options)
    mean = restorer(picture, kernel=field.mean()[0], **options)
    inner = (slice(20, -20),) * 2
    gain = metrics.psnr(local[inner], truth[inner]) - metrics.psnr(mean[inner], truth[inner])
    assert gain > 1
    # Seams would show as steps from column to column where two tiles of 40 pixels meet.
    error = local.astype(float) - truth
    steps = np.abs(np.diff(error, axis=1)).mean(axis=(0, 2))
    cuts = np.arange(40, side, 40)
    at = np.concatenate([steps[cuts - 1], steps[cuts]]).mean()
    assert at < 1.1 * steps[20:-20].mean()


@pytest.mark.parametrize(
    "text", ["gaussian:" + "[" * 3000, "9" * 5000, "motion:" + "9" * 5000, "psf.npy:" + "9" * 5000]
)
def test_texts_that_can_name_no_file(tmp_path, text):
    (tmp_path / "grid.json").write_text(json.dumps({"kernels": [["gaussian:1", text]]}))
    with pytest.raises(UsrnetError, match="kernel"):
        kernels.load_field(tmp_path / "grid.json")
    with pytest.raises(UsrnetError, match="kernel"):
        observe(kernel=text)


def test_a_grid_that_is_nested_too_deep(tmp_path):
    (tmp_path / "grid.json").write_text("[" * 100_000)
    with pytest.raises(UsrnetError, match="not a grid"):
        kernels.load_field(tmp_path / "grid.json")


def test_a_grid_is_looked_at_and_placed_as_one_kernel_is(tmp_path, monkeypatch):
    np.save(tmp_path / "psfs.npy", np.stack([kernels.gaussian(width, size=21) for width in (1.0, 2.0)]))
    (tmp_path / "grid.json").write_text(json.dumps({"kernels": [["psfs.npy:1", "psfs.npy:2", "gaussian:1.5"]]}))
    monkeypatch.chdir("/")  # files lie beside the grid and not where one works
    with pytest.warns(UsrnetWarning, match=r"grid\.json: the kernel is centred, .* 1.5 pixels"):
        centred = kernels.load_field(tmp_path / "grid.json", scale=4, align=False)
    placed = kernels.load_field(tmp_path / "grid.json", scale=4, align=True)
    for field, first in ((centred, 0.0), (placed, -1.5)):
        found = [kernels.centre_of_mass(taps[0]) for taps in field.taps[0]]
        assert np.allclose(found[:2], first, atol=0.05)
        assert np.allclose(found[2], -1.5, atol=0.05)  # a text is placed in any case
    moved = observe(scale=4, kernel=str(tmp_path / "grid.json"), align=True)
    assert moved.field is not None
    assert np.array_equal(moved.field.taps, placed.taps)


def test_texts_with_a_point_in_them_may_differ_in_size():
    assert kernels.field([["gaussian:1.5", "gaussian:6.5"]], scale=1).taps.shape == (1, 2, 1, 47, 47)
    with pytest.raises(UsrnetError, match="different sizes"):
        kernels.field([[np.ones((3, 3)) / 9, np.ones((5, 5)) / 25]], scale=1)
