from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.registration import phase_cross_correlation

import usrnet
from usrnet import kernels, metrics
from usrnet.device import computes
from usrnet.errors import PictureError, UsrnetError, UsrnetWarning
from usrnet.model import Unfolding
from usrnet.restoration import Restorer, observe, restore
from usrnet.restoration.restorer import GREY_NOISE, grey_noise


@pytest.fixture(scope="module")
def tiny(shared):
    return usrnet.load(shared / "weights" / "usrnet_tiny.pth")


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_output_lies_on_the_input(tiny, scale, name):
    import skimage.data

    picture = Image.fromarray(getattr(skimage.data, name)()).resize((120, 100), Image.Resampling.BOX)
    enlarged = picture.resize((120 * scale, 100 * scale), Image.Resampling.BICUBIC)
    out = restore(picture, model=tiny, scale=scale)
    pair = (np.asarray(picture.convert("F")) for picture in (enlarged, out))
    shift, *_ = phase_cross_correlation(*pair, upsample_factor=100, normalization=None)  # pyright: ignore[reportArgumentType]
    assert np.abs(shift).max() < 0.1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3), (20, 30, 4)])
def test_the_answer_is_of_the_kind_of_the_question(dtype, shape):
    rng = np.random.default_rng(0)
    picture = rng.random(shape)
    if np.issubdtype(dtype, np.integer):
        picture = picture * np.iinfo(dtype).max
    out = restore(picture.astype(dtype), model="tv", scale=2)
    assert out.dtype == dtype
    assert out.shape == (40, 60, *shape[2:])
    assert np.isfinite(out).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_pil_in_pil_out(mode):
    out = restore(Image.new(mode, (9, 7), 128 if len(mode) == 1 else (128,) * len(mode)), model="tv", scale=3)
    assert (out.mode, out.size) == (mode, (27, 21))
    assert abs(int(np.asarray(out).reshape(-1)[0]) - 128) <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 200), (31, 2)])
def test_tiny_and_thin_pictures(size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for scale in (1, 2, 3, 4):
        assert restore(picture, model="tv", scale=scale).shape == (scale * size[0], scale * size[1], 3)


def test_degrade_then_restore_gains_over_bicubic(tiny, photo):
    for text in ("gaussian:1.6", "motion:3", "bicubic"):
        small = usrnet.degrade(photo, text, scale=2, noise_level=2.55, seed=1)
        bicubic = np.asarray(Image.fromarray(small).resize(photo.shape[1::-1], Image.Resampling.BICUBIC))
        out = restore(small, model=tiny, scale=2, kernel=text, noise_level=2.55)
        assert metrics.psnr(out, photo, border=16) > metrics.psnr(bicubic, photo, border=16) + 1


@pytest.mark.parametrize("name", ["tv", "tiny"])
@pytest.mark.parametrize(
    ("text", "scale", "noise_level", "apart"), [("motion:5", 2, 2.55, 0.05), ("motion:16", 1, 1.0, 0.25)]
)
def test_tiles_lose_nothing_and_leave_no_seam(photo, tiny, name, text, scale, noise_level, apart):
    """The second case, little noise and a blur that erases frequencies, rings everywhere if borders are smooth."""
    kernel = kernels.parse(text, scale=scale)
    small = usrnet.degrade(photo, kernel, scale=scale, noise_level=noise_level)
    model = tiny if name == "tiny" else "tv"
    options = {"model": model, "scale": scale, "kernel": kernel, "noise_level": noise_level, "precision": "fp32"}
    whole = restore(small, tile="off", **options)
    tiled = restore(small, tile=192 // scale, **options)
    loss = metrics.psnr(whole, photo, border=8) - metrics.psnr(tiled, photo, border=8)
    assert abs(loss) < 0.05
    seams = np.zeros((384, 384), bool)
    for cut in (192,):
        seams[cut - 8 : cut + 8] = seams[:, cut - 8 : cut + 8] = True
    excess = np.abs(tiled.astype(float) - photo) - np.abs(whole.astype(float) - photo)
    inner = (slice(24, -24),) * 2
    assert abs(excess[inner][seams[inner]].mean()) < 0.02  # grey levels of 255
    assert np.abs(tiled.astype(float) - whole)[inner][seams[inner]].mean() < apart


@pytest.mark.parametrize(("options", "steps"), [({"tile": 32}, 6 * 6), ({"tile": "off", "ensemble": True}, 8 * 6)])
def test_progress_counts_the_iterations_of_tiles(options, steps):
    seen = []
    picture = np.zeros((64, 96, 3), np.uint8)
    restore(picture, scale=1, progress=lambda done, total: seen.append((done, total)), **options)
    assert {total for _, total in seen} == {steps}
    assert sorted({done for done, _ in seen}) == list(range(steps + 1))
    assert seen == sorted(seen)


def test_what_progress_raises_ends_the_restoration_within_a_tile():
    class StopError(Exception):
        pass

    def stop(done, total):
        if done == 2:
            raise StopError

    with pytest.raises(StopError):
        restore(np.zeros((16, 16, 3), np.uint8), tile="off", progress=stop)


def test_a_model_that_is_no_unfolding_has_one_step_a_tile():
    class Plain(torch.nn.Module):
        def forward(self, y, kernel, scale, sigma):
            return y

    seen = []
    restore(np.zeros((64, 64), np.uint8), model=Plain(), scale=1, kernel="gaussian:1", tile=32,
            progress=lambda done, total: seen.append((done, total)))  # fmt: skip
    assert seen[0] == (0, 4)
    assert seen[-1] == (4, 4)


def test_hidden_colours_do_not_bleed():
    picture = np.zeros((24, 24, 4), np.uint8)
    picture[:, 12:] = (200, 200, 200, 255)
    picture[:, :12] = (255, 0, 0, 0)  # red that nobody should see
    out = restore(picture, model="tv", scale=2)
    visible = out[out[..., 3] > 8].astype(int)
    assert np.abs(visible[:, 0] - visible[:, 1]).max() <= 3


def test_matches_the_published_pipeline_on_a_real_picture(shared, tiny):
    """The published code's result with the same weights, inside the border, to about a grey level."""
    picture = Image.open(shared / "data" / "real" / "chip.png")
    for scale, width in ((1, 0.6), (2, 0.9), (3, 1.7), (4, 2.2)):
        move = -(scale - 1) / 2
        kernel = kernels.shift(kernels.gaussian(width), move, move)  # bilinear, as published
        out = restore(
            picture.convert("RGB"), model=tiny, scale=scale, kernel=kernel, noise_level=15, precision="fp32"
        )
        expected = np.asarray(Image.open(shared / "oracle" / f"real_chip_x{scale}.png").convert("RGB"))
        difference = np.abs(np.asarray(out).astype(int) - expected)
        assert difference.mean() < 0.5
        assert difference[12:-12, 12:-12].mean() < 0.2


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_tv_beats_bicubic_for_published_kernels(shared, scale):
    """Interpolation is aligned to the samples. Total variation loses to it only where the samples alias strongly."""
    from usrnet.evaluate.methods import interpolate_circular, make_method
    from usrnet.evaluate.protocols import PROTOCOLS, published_rows
    from usrnet.io import read_rgb

    protocol = PROTOCOLS["table1"]
    truth = protocol.truth(read_rgb(shared / "data" / "set5" / "bird.bmp"), scale)[:144, :144]
    tv = make_method("tv", boundary="circular", device="cpu", precision="fp32")
    twelve = kernels.load_all(shared / "data" / "kernels" / "kernels_12.mat")
    for row in published_rows("table1", twelve, [scale], [0.0]):
        small = protocol.observe(truth, row)
        gain = metrics.psnr(tv(small, row), truth / 255, border=8) - metrics.psnr(
            interpolate_circular(small, row), truth / 255, border=8
        )
        if row.kernel_name == 1 and scale > 2:
            continue
        assert gain > 0.5, (row.label, gain)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"scale": 5}, "scale 5"),
        ({"noise_level": -1}, "noise level -1"),
        ({"noise_level": float("nan")}, "noise level nan"),
        ({"kernel": "gauss:1"}, "gauss:1"),
        ({"kernel": np.full((3, 3), np.nan)}, "finite"),
        ({"tile": "big"}, "tile 'big'"),
        ({"tile": 3}, "tile 3"),
        ({"precision": "int8"}, "precision 'int8'"),
        ({"device": "cuda:9"}, "not there"),
        ({"device": "tpu"}, "choose auto, cpu or cuda"),
        ({"model": "nonsense"}, "nonsense"),
    ],
)
def test_wrong_arguments_are_named(options, text):
    with pytest.raises(UsrnetError, match=text):
        restore(np.zeros((8, 8, 3), np.uint8), **{"model": "tv", **options})


def test_wrong_boundary_is_named():
    with pytest.raises(UsrnetError, match="boundary 'mirror' is not known: choose extrapolate, liu-jia, circular"):
        Restorer("tv", boundary="mirror")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_16_bits_are_close(tiny, photo, precision):
    if not computes(precision, torch.device("cpu")):
        pytest.skip(f"this processor has no {precision}")
    small = usrnet.degrade(photo[:128, :128], "gaussian:1.2", scale=2)
    exact = restore(small, model=tiny, kernel="gaussian:1.2", precision="fp32")
    fast = restore(small, model=tiny, kernel="gaussian:1.2", precision=precision)
    assert 40 < metrics.psnr(fast, exact) < np.inf


def test_margins_of_a_kernel_change_nothing(photo):
    kernel = kernels.motion(3)
    wide = np.pad(kernel, 120)
    small = usrnet.degrade(photo[:160, :160], kernel, scale=2, noise_level=2)
    for tile in ("off", 48):
        options = {"scale": 2, "noise_level": 2, "tile": tile, "precision": "fp32"}
        narrow = restore(small, kernel=kernel, **options).astype(float)
        assert np.abs(narrow - restore(small, kernel=wide, **options)).mean() < 0.1


def test_a_restorer_serves_many_pictures():
    restorer = Restorer("tv")
    a, b = np.zeros((8, 9, 3), np.uint8), np.zeros((30, 20), np.uint16)
    assert restorer(a).shape == (16, 18, 3)
    assert restorer(b).shape == (60, 40)
    assert torch.is_inference_mode_enabled() is False


@pytest.mark.parametrize("name", ["default", "tv"])
def test_automatic_tiles_follow_the_memory_there_is(monkeypatch, name):
    restorer = Restorer(name)
    assert restorer._tile(500, 500, 3, 2) == (500, 500)
    rows, columns = restorer._tile(20_000, 20_000, 3, 2)
    assert 500 < rows <= columns < 2500
    assert restorer._tile(20_000, 200_000, 3, 2)[0] < rows
    monkeypatch.setattr("usrnet.restoration.restorer.free_memory", lambda _: 2e8)
    assert restorer._tile(20_000, 20_000, 3, 2)[1] < columns / 2
    monkeypatch.setattr("usrnet.restoration.restorer.free_memory", lambda _: 0)
    assert restorer._tile(20_000, 20_000, 3, 2) == (128, 128)


def test_the_model_that_is_given_is_not_changed(photo):
    """It is copied: neither its layout nor its device changes, and later changes of it are not seen."""
    model = usrnet.load("default")
    before = [parameter.stride() for parameter in model.parameters()]
    restorer = Restorer(model)
    result = restorer(photo[:24, :24])
    assert [parameter.stride() for parameter in model.parameters()] == before
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert np.array_equal(restorer(photo[:24, :24]), result)


def test_threads_share_restorers_and_give_the_same_bytes(photo):
    tasks = [
        (restorer, photo[16 * n : 16 * n + 30 + n, 8 * n : 8 * n + 40], scale, kernel)
        for restorer in (Restorer("default"), Restorer("tv"))
        for n, (scale, kernel) in enumerate([(1, "motion:3"), (2, None), (3, "gaussian:1.5"), (4, "bicubic")])
    ]

    def run(task) -> np.ndarray:
        restorer, pixels, scale, kernel = task
        return restorer(pixels, scale=scale, kernel=kernel)

    alone = [run(task) for task in tasks]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(run, [*tasks, *tasks]))
    for one, other in zip([*alone, *alone], together, strict=True):
        assert np.array_equal(one, other)


class Poisoned(torch.nn.Module):
    """A prior whose result is not finite when it is computed in 16 bits, or ever."""

    def __init__(self, *, always: str) -> None:
        super().__init__()
        self.always = always == "always"

    def forward(self, z: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        bad = self.always or torch.is_autocast_enabled("cpu")
        return z * float("nan") if bad else z


@pytest.mark.parametrize("always", ["always", "in 16 bits"])
def test_what_is_not_finite_is_computed_again_in_float32_or_fails(photo, monkeypatch, always):
    monkeypatch.setattr("usrnet.device.computes", lambda *_: True)
    model = Unfolding(Poisoned(always=always), usrnet.load("tv").h)
    restorer = Restorer(model, precision="fp16")
    if always == "always":
        with pytest.raises(PictureError, match="not finite"):
            restorer(photo[:16, :16])
    else:
        assert restorer(photo[:16, :16]).std() > 0


def test_smaller_tiles_are_tried_once_when_memory_runs_out(photo, monkeypatch):
    restorer = Restorer("tv", tile="off")
    original, sides = Restorer._window, []

    def window(self, stored, *known):
        sides.append(stored.shape[1])
        if stored.shape[1] > limit:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return original(self, stored, *known)

    monkeypatch.setattr(Restorer, "_window", window)
    limit = 300
    restored = restorer(photo, scale=1)
    assert sides[0] == photo.shape[1]
    assert all(side <= limit for side in sides[1:])
    monkeypatch.undo()
    assert np.abs(restored.astype(float) - restorer(photo, scale=1)).max() <= 2
    monkeypatch.setattr(Restorer, "_window", window)
    limit = 10
    with pytest.raises(PictureError, match="not enough memory for 384×384 pixels at ×1"):
        restorer(photo, scale=1)


def test_a_stamp_does_not_make_a_grey_picture_one_in_colour(photo):
    restorer = Restorer("default", precision="fp32")
    grey = usrnet.degrade(
        photo[60:156, 130:226].mean(axis=-1).astype(np.uint8), "gaussian:1.5", scale=1, noise_level=5
    )
    plain = np.repeat(grey[..., None], 3, axis=-1)
    stamped = plain.copy()
    stamped[4:10, 4:10] = (200, 30, 30)
    expected, found = (restorer(x, scale=1, kernel="gaussian:1.5", noise_level=5) for x in (plain, stamped))
    assert np.abs(expected.astype(int) - found)[40:, 40:].max() <= 3
    colour = grey_noise(torch.rand(2, 3, 20, 20))
    assert colour.tolist() == [1, 1]
    assert grey_noise(torch.rand(2, 1, 20, 20)).tolist() == [GREY_NOISE, GREY_NOISE]


def test_steps_of_two_pictures_side_by_side_leave_the_caller_s_gradients_alone(photo):
    restorer, known = Restorer("tv"), observe(scale=1, kernel="gaussian:1")
    for _ in zip(*(restorer.iterations(photo[:16, :16], known) for _ in range(2)), strict=True):
        assert not torch.is_inference_mode_enabled()
    assert not torch.is_inference_mode_enabled()


def test_what_a_model_and_options_may_be(tmp_path):
    picture = np.full((8, 8), 90, np.uint8)
    model = usrnet.load("default")
    usrnet.weights.save(model, tmp_path / "m.safetensors")
    one, two, three = (
        Restorer(given, precision="fp32")(picture) for given in (model, model.double(), tmp_path / "m.safetensors")
    )
    assert np.array_equal(one, two)
    assert np.array_equal(one, three)
    for wrong in ({"strength": "70"}, {"tile": None}):
        with pytest.raises(UsrnetError, match=next(iter(wrong))):
            Restorer("tv", **wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsrnetError, match="saturation None"):
        Restorer("tv")(picture, saturation=None)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("stored_as", ["grey", "three equal channels"])
def test_noise_of_a_grey_picture_is_told_as_what_it_is(photo, stored_as):
    """It is the same in all channels, where the network expects it to differ: 6 dB below, if nobody says so."""
    truth = photo[100:260, 100:260].mean(axis=-1).round().astype(np.uint8)
    blurred = usrnet.degrade(truth, "gaussian:1.6", scale=1, noise_level=2.55)[24:-24, 24:-24]
    given = blurred if stored_as == "grey" else np.repeat(blurred[..., None], 3, axis=-1)
    restored = restore(given, scale=1, kernel="gaussian:1.6", noise_level=2.55)
    grey = restored if stored_as == "grey" else restored.mean(axis=-1).round().astype(np.uint8)
    gain = metrics.psnr(grey, truth[24:-24, 24:-24]) - metrics.psnr(blurred, truth[24:-24, 24:-24])
    assert gain > 4


@pytest.mark.parametrize(
    ("bend", "text"),
    [
        (lambda psf: psf + 0.1 * psf.max(), "there is a background"),
        (lambda psf: psf.max() - psf, "black on white"),
        (lambda psf: kernels.shift(psf, 0, 3), "3.0 pixels right"),
        (np.fft.ifftshift, "FFT order"),
        (lambda psf: psf[:-1, :-1], "is even"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*has the sum")
def test_a_psf_that_is_an_array_is_looked_at(bend, text):
    """As one from a file is."""
    picture, psf = np.full((40, 40), 0.5, np.float32), kernels.gaussian(2)
    options = {"model": "tv", "scale": 1, "noise_level": 2}
    with pytest.warns(UsrnetWarning, match=text):
        restore(picture, kernel=bend(psf), **options)
    restore(picture, kernel=psf, **options)  # without a word


def test_a_picture_that_wraps_around_is_never_cut(photo, monkeypatch):
    """A tile does not wrap around: along the border of the picture it would see its own other side."""
    blurred = usrnet.degrade(photo[:264, :264], "gaussian:2", scale=1)
    whole = Restorer("tv", boundary="circular", tile="off")(blurred, scale=1, kernel="gaussian:2")
    monkeypatch.setattr("usrnet.restoration.restorer.free_memory", lambda _: 0)
    restorer = Restorer("tv", boundary="circular")
    assert np.array_equal(restorer(blurred, scale=1, kernel="gaussian:2"), whole)
    known = observe(scale=1, kernel="gaussian:2")
    assert np.array_equal(restorer.crop(blurred, known, top=0, left=0, height=9, width=8), whole[:9, :8])
    with pytest.raises(UsrnetError, match="tile 128: an image that wraps around is restored as a whole, choose off"):
        Restorer("tv", boundary="circular", tile=128)
    field = kernels.field([["gaussian:1", "gaussian:2"]], scale=1)
    with pytest.raises(UsrnetError, match="a kernel that varies over the picture cannot wrap around"):
        restorer(blurred, scale=1, kernel=field)

    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(Restorer, "_window", no_memory)
    with pytest.raises(
        PictureError, match=r"not enough memory for 264×264 .*wraps around cannot be restored in tiles"
    ):
        restorer(blurred, scale=1)
