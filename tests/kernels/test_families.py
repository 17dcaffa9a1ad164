import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from usrnet import kernels
from usrnet.errors import UsrnetError, UsrnetWarning


def centroid(kernel: np.ndarray) -> np.ndarray:
    """The centre of mass (y, x), from the centre pixel."""
    grid = [np.arange(n) - n // 2 for n in kernel.shape]
    return np.array([(kernel.sum(axis=1) * grid[0]).sum(), (kernel.sum(axis=0) * grid[1]).sum()])


def covariance(kernel: np.ndarray) -> np.ndarray:
    """The covariance of (x, y)."""
    cy, cx = centroid(kernel)
    y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]] - np.reshape([n // 2 for n in kernel.shape], (2, 1, 1))
    y, x = y - cy, x - cx
    return np.array(
        [[(kernel * x * x).sum(), (kernel * x * y).sum()], [(kernel * x * y).sum(), (kernel * y * y).sum()]]
    )


@pytest.fixture(scope="module")
def oracle(shared):
    return np.load(shared / "oracle" / "kernels.npz")


def test_gaussians_match_the_published_code(oracle):
    for width in (0.6, 0.9, 1.7, 2.2):
        assert np.abs(kernels.gaussian(width) - oracle[f"gaussian_{width}"]).max() < 1e-8
    for index, (theta, first, second) in enumerate(oracle["aniso_params"]):
        made = kernels.gaussian(first**0.5, second**0.5, np.degrees(theta))
        assert np.abs(made - oracle[f"aniso_{index}"]).max() < 1e-8


def test_shift_matches_the_published_code(oracle):
    for width, scale in ((0.6, 1), (0.9, 2), (1.7, 3), (2.2, 4)):
        move = -(scale - 1) / 2
        made = kernels.shift(kernels.gaussian(width), move, move)
        assert np.abs(made - oracle[f"shift_{width}_s{scale}"]).max() < 1e-6


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "text",
    [
        "delta",
        "gaussian:1.6",
        "gaussian:3,1,30",
        "motion:7",
        "line:9,30",
        "disk:3.4",
        "moffat:4,3",
        "airy:3",
        "bicubic",
    ],
)
def test_every_family_is_moved_for_its_scale(text, scale):
    kernel = kernels.parse(text, scale)
    assert kernel.sum() == pytest.approx(1)
    assert np.abs(centroid(kernel) + (scale - 1) / 2).max() < 0.02


def test_a_disk_covers_its_area():
    assert kernels.disk(5.3).max() == pytest.approx(1 / (np.pi * 5.3**2), rel=1e-3)  # wholly covered pixels
    assert covariance(kernels.disk(20))[0, 0] == pytest.approx(20**2 / 4 + 1 / 12, rel=1e-3)
    assert kernels.disk(0.3)[12, 12] == pytest.approx(1)


def test_a_line_leaves_its_length_in_the_pixels():
    assert kernels.line(4, 0)[12, 9:16] == pytest.approx([0, 0.125, 0.25, 0.25, 0.25, 0.125, 0])
    assert np.allclose(kernels.line(5, 90), kernels.line(5, 0).T)
    variance_x, variance_y = np.diag(covariance(kernels.line(30, 60)))
    assert variance_x + variance_y == pytest.approx(30**2 / 12, rel=0.02)
    assert covariance(kernels.line(30, 60))[0, 1] > 0  # clockwise: down and to the right
    assert variance_y / variance_x == pytest.approx(3, rel=0.02)


@pytest.mark.parametrize(("fwhm", "beta"), [(3, 4.765), (6, 2.5)])
def test_moffat_has_its_width_and_its_wings(fwhm, beta):
    fine = kernels.moffat(10 * fwhm, beta)  # so wide that a pixel is a point
    middle = fine.shape[0] // 2
    assert fine[middle, middle + 5 * fwhm] / fine[middle, middle] == pytest.approx(0.5, rel=5e-3)
    kernel = kernels.moffat(fwhm, beta)
    y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]] - kernel.shape[0] // 2
    core = fwhm / 2 / (2 ** (1 / beta) - 1) ** 0.5
    inside = kernel[np.hypot(y, x) < 2 * core].sum()
    assert inside == pytest.approx(1 - (1 + 4) ** (1 - beta), rel=0.02)


def test_airy_is_dark_on_its_ring():
    kernel = kernels.airy(12)
    middle = kernel.shape[0] // 2
    assert kernel[middle, middle + 12] < 1e-3 * kernel[middle, middle]
    y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]] - middle
    assert kernel[np.hypot(y, x) < 12].sum() == pytest.approx(0.838 / 0.99, rel=5e-3)
    # Green light, f/8 (numerical aperture 1/16), 4 µm pixels: 1.22 λ N = 5.37 µm.
    assert kernels.airy_radius(0.55, 1 / 16, 4) == pytest.approx(1.22 * 0.55 * 8 / 4, rel=1e-3)


@pytest.mark.parametrize(
    "text",
    ["disk:0", "disk:-1", "disk:1e9", "line:0,3", "line:inf,0", "line:3", "moffat:3,1", "moffat:3,1.05", "moffat:3",
     "airy:0", "airy:nan"],
)  # fmt: skip
def test_families_refuse_what_makes_no_sense(text):
    with pytest.raises(UsrnetError, match=r"needs|too large|write"):
        kernels.parse(text)


def test_the_angle_is_clockwise_on_the_screen():
    cov = covariance(kernels.gaussian(3, 1, 30))
    theta = np.radians(30)
    axes = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    assert np.abs(cov - axes @ np.diag([9, 1]) @ axes.T).max() < 0.02


@pytest.mark.parametrize("width", [0.05, 0.4, 2, 9, 40])
def test_gaussians_grow_until_they_hold_their_mass(width):
    kernel = kernels.gaussian(width, scale=4)
    assert kernel.shape[0] % 2 == 1
    assert kernel.shape[0] >= 25
    doubled = kernels.gaussian(width, scale=4, size=2 * kernel.shape[0] + 1)
    reach = (doubled.shape[0] - kernel.shape[0]) // 2
    assert doubled[reach:-reach, reach:-reach].sum() > 0.999


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_is_the_published_downsampling(shared, scale):
    from scipy.ndimage import convolve

    oracle = np.load(shared / "oracle" / "bicubic_downsample.npz")
    image = oracle["image"] / 255
    kernel = kernels.bicubic(scale)
    small = np.stack([convolve(image[..., c], kernel, mode="wrap") for c in range(3)], -1)[::scale, ::scale]
    inside = slice(4, -4)
    assert np.abs(small - oracle[f"x{scale}"])[inside, inside].max() < 1e-6


def test_bicubic_serves_as_well_as_the_published_one(shared):
    """Restoring a bicubic reduction with the derived kernel loses nothing against the fitted one."""
    from PIL import Image

    import usrnet
    from usrnet import metrics

    model = usrnet.load(shared / "weights" / "usrnet_tiny.pth")
    truth = np.asarray(Image.open(shared / "data" / "set5" / "butterfly.bmp"))[:252, :252]
    for scale in (2, 3, 4):
        small = usrnet.degrade(truth, kernels.bicubic(scale), scale=scale)
        published = kernels.load(shared / "data" / "kernels" / "kernels_bicubicx234.mat", index=scale - 1)
        options = {"model": model, "scale": scale, "noise_level": 0}
        ours = metrics.psnr(usrnet.restore(small, kernel="bicubic", **options), truth, border=scale, y=True)
        theirs = metrics.psnr(usrnet.restore(small, kernel=published, **options), truth, border=scale, y=True)
        assert ours > theirs - 0.02


def test_motion_is_repeatable_centred_and_varied():
    made = [kernels.motion(seed) for seed in range(40)]
    assert np.array_equal(made[3], kernels.motion(3))
    assert all(kernel.shape == (25, 25) and kernel.min() >= 0 for kernel in made)
    assert max(np.abs(centroid(kernel)).max() for kernel in made) < 0.02
    spreads = [np.trace(covariance(kernel)) for kernel in made]
    assert min(spreads) < 8 < 30 < max(spreads)
    assert max(kernel[[0, -1]].sum() + kernel[:, [0, -1]].sum() for kernel in made) < 0.02


def test_motions_of_a_batch_are_those_of_one_call():
    batch = kernels.motions(np.random.default_rng(5), 7, size=31)
    assert batch.shape == (7, 31, 31)
    assert np.array_equal(batch, kernels.motions(np.random.default_rng(5), 7, size=31))
    assert not np.array_equal(batch[0], batch[1])


@pytest.mark.parametrize("shape", [(25, 25), (12, 15), (1, 1), (4, 4, 3)])
def test_shift_and_back(shape):
    kernel = np.random.default_rng(0).random(shape)
    kernel /= kernel.sum(axis=(0, 1))
    moved = kernels.shift(kernel, 2, -3)
    assert [n % 2 for n in moved.shape[:2]] == [n % 2 for n in kernel.shape[:2]]
    planes = moved[..., None] if moved.ndim == 2 else moved
    before = kernel[..., None] if kernel.ndim == 2 else kernel
    for c in range(planes.shape[-1]):
        assert np.allclose(centroid(planes[..., c]) - centroid(before[..., c]), (2, -3))


@settings(deadline=None, max_examples=40)
@given(st.floats(0.2, 6), st.floats(0.2, 6), st.floats(-360, 360), st.integers(1, 4))
def test_any_gaussian_is_a_kernel(first, second, degrees, scale):
    kernel = kernels.gaussian(first, second, degrees, scale=scale)
    assert np.isfinite(kernel).all()
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1)


@pytest.mark.parametrize("suffix", [".npy", ".png"])
@pytest.mark.parametrize("text", ["gaussian:1.6", "motion:3", "delta"])
def test_files_keep_the_kernel(tmp_path, suffix, text):
    kernel = kernels.parse(text, 2)
    path = tmp_path / f"k{suffix}"
    kernels.save(path, kernel)
    assert np.abs(kernels.parse(str(path), 2) - kernel).max() < (1e-5 if suffix == ".png" else 1e-15)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.filterwarnings("ignore:.*centre of mass lies")
def test_the_published_files(shared):
    twelve = kernels.load_all(shared / "data" / "kernels" / "kernels_12.mat")
    assert len(twelve) == 12
    assert all(abs(kernel.sum() - 1) < 1e-12 for kernel in twelve)
    assert np.array_equal(kernels.parse(str(shared / "data" / "kernels" / "kernels_12.mat:9")), twelve[8])
    large = kernels.load(shared / "data" / "kernels" / "k_large_1.png")
    assert large.shape[0] > 60
    with pytest.raises(UsrnetError, match="12 kernels"):
        kernels.load(shared / "data" / "kernels" / "kernels_12.mat")


def test_a_matlab_stack_is_several_kernels(tmp_path):
    stack = np.random.default_rng(0).random((9, 9, 5))
    savemat(tmp_path / "k.mat", {"psf": stack, "name": "lens", "pitch": 6.5})
    with pytest.warns(UsrnetWarning, match="scaled to 1"):
        loaded = kernels.load_all(tmp_path / "k.mat")
    assert len(loaded) == 5
    assert np.allclose(loaded[2], stack[..., 2] / stack[..., 2].sum())


def test_a_far_sum_is_noted():
    with pytest.warns(UsrnetWarning, match=r"sum 4\.5"):
        assert kernels.check(np.full((3, 3), 0.5)).sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("kernel", "text"),
    [
        (np.zeros((3, 3)), "sum 0"),
        (np.array([[1.0, -1.0]]), "sum 0"),
        (-np.ones((3, 3)), "sum -9"),
        (np.array([[1, np.nan]]), "finite"),
        (np.array([[1, np.inf]]), "finite"),
        (np.full((3, 3), 1e308), "no number any more"),
        (np.ones(5), "shape 5"),
        (np.ones((5, 5, 2)), "shape 5×5×2"),
        (np.ones((0, 5)), "shape 0×5"),
        (np.ones((2, 2), complex), "real"),
        (np.array([["a"]]), "real"),
    ],
)
def test_what_is_no_kernel(kernel, text):
    with pytest.raises(UsrnetError, match=text):
        kernels.check(kernel)


@pytest.mark.parametrize(
    "text",
    [
        "", "gauss:1", "gaussian", "gaussian:", "gaussian:1,2", "gaussian:a", "gaussian:-1", "gaussian:0",
        "gaussian:nan", "gaussian:1e9", "motion", "motion:", "motion:x", "motion:-1", "missing.npy", "missing.mat:1",
    ],
)  # fmt: skip
def test_texts_that_mean_nothing(text):
    with pytest.raises(UsrnetError):
        kernels.parse(text, 2)


def test_pickles_are_not_opened(tmp_path):
    np.save(tmp_path / "k.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UsrnetError, match="Python objects, which are not opened"):
        kernels.load(tmp_path / "k.npy")


def test_what_a_file_cannot_hold(tmp_path):
    with pytest.raises(UsrnetError, match="negative"):
        kernels.save(tmp_path / "k.png", kernels.bicubic(2))
    with pytest.raises(UsrnetError, match=r"\.npy or \.mat"):
        kernels.save(tmp_path / "k.txt", np.ones((3, 3, 3)) / 9)
    with pytest.raises(UsrnetError, match="kernel file is one of"):
        kernels.save(tmp_path / "k.jpg", kernels.delta())
    with pytest.raises(UsrnetError, match="cannot be written"):
        kernels.save(tmp_path / "no folder" / "k.npy", kernels.delta())


def test_the_module_does_not_need_torch():
    code = "import sys; from usrnet import kernels; kernels.parse('motion:1', 2); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_extent_leaves_out_margins_of_nothing():
    assert kernels.extent(np.pad(kernels.gaussian(1.0, size=9), ((20, 20), (30, 30)))) == (9, 9)
    assert kernels.extent(kernels.delta()) == (1, 1)
    assert kernels.extent(np.full((6, 9), 1.0)) == (6, 9)
    corner = np.zeros((2, 31, 41))
    corner[0, 15, 20] = 1
    corner[1, 3, 20] = 0.001  # small, but more than nothing
    assert kernels.extent(corner) == (25, 1)
    assert kernels.extent(kernels.gaussian(3.0)) <= kernels.gaussian(3.0).shape


@pytest.mark.parametrize(
    "family", ["gaussian:{}", "gaussian:{},{},30", "disk:{}", "moffat:{},3", "airy:{}", "line:{},30"]
)
@pytest.mark.parametrize("width", ["1e-2", "1e-5", "1e-320"])
def test_what_is_narrower_than_any_pixel_is_a_point(family, width):
    assert kernels.parse(family.format(width, width), 1).max() > 0.9999
    assert kernels.parse(family.format(width, width), 2).max() == pytest.approx(0.25, abs=0.02)
