"""Whole files through the main job: every case that users of other tools reported, and its kind."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from scipy.ndimage import gaussian_filter

import usrnet
from usrnet import io, kernels
from usrnet.errors import PictureError, UsrnetError, UsrnetWarning
from usrnet.io import tiff
from usrnet.io.gaps import Gaps, survey
from usrnet.restoration import Handling, Restorer, ask, ask_channels, files, observe, restore_file
from usrnet.restoration.folder import restore_pictures
from usrnet.restoration.jobs import Job, Recipe

H, W = 24, 36
RNG = np.random.default_rng(0)
SCENE = np.stack([gaussian_filter(RNG.random((H, W)), 1.5) for _ in range(3)], -1)
SCENE = (SCENE - SCENE.min()) / np.ptp(SCENE)
RGB8, RGB16 = (SCENE * 255).round().astype(np.uint8), (SCENE * 65535).round().astype(np.uint16)
GREY16 = RGB16.mean(-1).astype(np.uint16)
NOTHING = observe(scale=1, kernel="delta", noise_level=0)  # y = x


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    return Restorer("tv", device="cpu", precision="fp32")


def there_and_back(restorer, source, target=None, **options):
    """The file through the job that changes nothing, as ``read_whole`` gives it."""
    target = target or source.with_name(f"out{source.suffix}")
    restore_file(restorer, source, target, NOTHING, handling=Handling(**options))
    return io.read_whole(target).pixels


# Bit for bit where nothing is to be done


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float16", "float32", "float64"])
@pytest.mark.parametrize("options", [{}, {"white": 4095.0}, {"white": "auto"}])
@pytest.mark.filterwarnings("ignore:.*full scale")
def test_every_value_comes_back(tmp_path, restorer, dtype, options):
    values = SCENE if dtype.startswith("float") else (SCENE * min(np.iinfo(dtype).max, 2**30)).astype(dtype)
    values = values.astype(dtype)
    for array, name in ((values, "colour"), (values[..., 0], "grey")):
        colour = "rgb" if array.ndim == 3 else "minisblack"
        tifffile.imwrite(tmp_path / f"{name}.tif", array, photometric=colour)
        back = there_and_back(restorer, tmp_path / f"{name}.tif", **options)
        assert back.dtype == array.dtype
        assert np.array_equal(back, array)


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_comes_back(tmp_path, restorer, channels):
    array = np.dstack([RGB16, GREY16])[..., :channels]
    io.write(tmp_path / "a.png", io.Picture(np.ascontiguousarray(array)))
    assert np.array_equal(there_and_back(restorer, tmp_path / "a.png"), array)


# The cases: a wrong picture


@pytest.mark.parametrize("orientation", range(1, 9))
def test_case_01_orientation(tmp_path, restorer, orientation):
    Image.fromarray(RGB8).save(tmp_path / "a.tif", tiffinfo={274: orientation}, compression="tiff_adobe_deflate")
    plain = Image.fromarray(RGB8)
    plain.getexif()[274] = orientation
    assert np.array_equal(there_and_back(restorer, tmp_path / "a.tif"), np.asarray(ImageOps.exif_transpose(plain)))


def test_case_02_camera_raw(tmp_path, restorer):
    with tifffile.TiffWriter(tmp_path / "a.dng") as writer:
        writer.write(np.ascontiguousarray(RGB8[::3, ::3]), photometric="rgb", subifds=1, subfiletype=1)
        writer.write(GREY16, photometric="minisblack", subfiletype=0)
    with pytest.raises(PictureError, match=r"a\.dng is a camera's raw file: develop it first"):
        there_and_back(restorer, tmp_path / "a.dng", tmp_path / "out.tif")


def test_case_03_white_is_zero(tmp_path, restorer):
    tifffile.imwrite(tmp_path / "a.tif", 65535 - GREY16, photometric="miniswhite")
    assert np.array_equal(there_and_back(restorer, tmp_path / "a.tif"), GREY16)


def test_case_04_inks(tmp_path, restorer):
    black = 1 - SCENE.max(-1, keepdims=True)
    inks = np.dstack([(1 - SCENE - black) / np.maximum(1 - black, 1e-6), black])
    tifffile.imwrite(tmp_path / "a.tif", (inks * 65535).astype(np.uint16), photometric="separated")
    with pytest.warns(UsrnetWarning, match="four inks"):
        assert np.abs(there_and_back(restorer, tmp_path / "a.tif").astype(int) - RGB16).max() < 200


@pytest.mark.filterwarnings("ignore:.*of the range")
def test_case_05_fits(tmp_path, restorer):
    fits = pytest.importorskip("astropy.io.fits")
    counts = (SCENE.mean(-1) * 2000 + 1000).astype(np.uint16)
    fits.PrimaryHDU(counts).writeto(tmp_path / "a.fits")
    there_and_back(restorer, tmp_path / "a.fits", tmp_path / "b.fits")
    assert np.array_equal(fits.getdata(tmp_path / "b.fits"), counts)


@pytest.mark.parametrize("scale", [1, 2])
def test_case_06_near_infrared(tmp_path, restorer, scale):
    infrared = gaussian_filter(RNG.random((H, W)), 3)
    bands = np.dstack([SCENE * 60000, infrared * 60000]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", bands, photometric="rgb", extrasamples=["unspecified"])
    observation = observe(scale=scale, kernel="gaussian:1.2", noise_level=2)
    restore_file(restorer, tmp_path / "a.tif", tmp_path / "b.tif", observation)
    back = tifffile.imread(tmp_path / "b.tif")
    assert np.array_equal(back[..., :3], restorer.restore(np.ascontiguousarray(bands[..., :3]), observation))
    assert np.array_equal(back[..., 3], restorer.restore(np.ascontiguousarray(bands[..., 3]), observation))
    for channels in (1, 2):  # three grey bands of 8 bits, as of 16
        grey = RGB8 if channels == 1 else RGB16
        tifffile.imwrite(tmp_path / "c.tif", grey, photometric="minisblack", planarconfig="contig")
        assert np.array_equal(there_and_back(restorer, tmp_path / "c.tif"), grey)


@pytest.mark.parametrize("options", [{}, {"rowsperstrip": 8, "compression": "zlib"}])
def test_case_09_floats_of_counts(tmp_path, monkeypatch, restorer, options):
    observation = observe(scale=1, kernel="gaussian:1.2", noise_level=2)
    expected = restorer.restore(GREY16, observation).astype(float)
    tifffile.imwrite(tmp_path / "a.tif", GREY16.astype(np.float32), **options)
    for large in (files.LARGE_BYTES, 0):
        monkeypatch.setattr(files, "LARGE_BYTES", large)
        handling = Handling(white=65535.0)
        restore_file(restorer, tmp_path / "a.tif", tmp_path / "b.tif", observation, handling=handling)
        assert np.abs(tifffile.imread(tmp_path / "b.tif") - expected).max() < 2
        with pytest.warns(UsrnetWarning, match="values lie from .* to .*: --white VALUE says .*--white auto"):
            restore_file(restorer, tmp_path / "a.tif", tmp_path / "b.tif", observation)
        assert np.abs(tifffile.imread(tmp_path / "b.tif") - expected).mean() < 450


def test_case_09_background_subtracted(tmp_path, restorer):
    values = (SCENE.mean(-1) * 1.6 - 0.5).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values)
    observation = observe(scale=2, kernel="gaussian:1.2", noise_level=1)
    with pytest.warns(UsrnetWarning, match="partly outside 0 to 1, and are kept"):
        restore_file(restorer, tmp_path / "a.tif", tmp_path / "b.tif", observation)
    back = tifffile.imread(tmp_path / "b.tif")
    assert back.min() < values.min() + 0.05
    assert back.max() > values.max() - 0.05


@pytest.mark.parametrize("dtype", [np.uint32, np.int16, np.int32])
@pytest.mark.filterwarnings("ignore:.*full scale")
def test_case_09_other_whole_numbers(tmp_path, restorer, dtype):
    values = (GREY16.astype(np.int64) // 4 - (0 if dtype is np.uint32 else 1000)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values)
    assert np.array_equal(there_and_back(restorer, tmp_path / "a.tif"), values)
    restore_file(restorer, tmp_path / "a.tif", tmp_path / "b.tif", observe(scale=2))
    assert abs(float(tifffile.imread(tmp_path / "b.tif").mean()) - values.mean()) < 0.02 * np.ptp(values)


def test_case_10_counts_in_a_corner_of_the_range(tmp_path, restorer):
    fine = gaussian_filter(RNG.random((48, 48)), 1)
    fine = (fine - fine.min()) / np.ptp(fine)
    tifffile.imwrite(tmp_path / "a.tif", (fine * 1000 + 100).astype(np.uint16))
    observation = observe(scale=1, kernel="gaussian:1.5", noise_level=2)
    with pytest.warns(UsrnetWarning, match=r"1\.53% of the range, where a noise level of 1 is 257: --white VALUE"):
        restore_file(restorer, tmp_path / "a.tif", tmp_path / "c.tif", observation)
    spans = []
    for counts in (fine * 1000 + 100, fine * 60000):  # as floats, which are not clipped
        tifffile.imwrite(tmp_path / "d.tif", counts.astype(np.float32))
        handling = Handling(white="auto")
        with pytest.warns(UsrnetWarning, match="taken as full scale"):
            restore_file(restorer, tmp_path / "d.tif", tmp_path / "c.tif", observation, handling=handling)
        spans.append(float(tifffile.imread(tmp_path / "c.tif").std()) / counts.std())
    assert spans[0] == pytest.approx(spans[1], rel=0.001)


def test_case_12_and_13_broken_blocks(tmp_path, restorer):
    image = Image.fromarray(RGB8)
    image.save(tmp_path / "a.png", exif=b"\0\0\x11\0\0\1\4\0garbage")
    with pytest.warns(UsrnetWarning, match="EXIF block is broken"):
        assert np.array_equal(there_and_back(restorer, tmp_path / "a.png"), RGB8)
    image.convert("CMYK").save(tmp_path / "b.jpg", icc_profile=b"not a profile" * 50)
    with pytest.warns(UsrnetWarning, match="profile is broken"):
        assert np.abs(there_and_back(restorer, tmp_path / "b.jpg", tmp_path / "b.png").astype(int) - RGB8).mean() < 12


def test_case_14_what_cannot_be_written_is_refused_before_the_work(tmp_path, restorer, monkeypatch):
    Image.new("RGB", (4200, 8), (90, 120, 30)).save(tmp_path / "wide.png")
    monkeypatch.setattr(Restorer, "strips", None)
    with pytest.raises(PictureError, match="WEBP holds at most 16383 pixels a side, the result has 16800×32"):
        restore_file(restorer, tmp_path / "wide.png", tmp_path / "out.webp", observe(scale=4))
    for suffix in (".gif", ".xyz", ""):
        with pytest.raises(PictureError, match="cannot write"):
            restore_file(restorer, tmp_path / "wide.png", tmp_path / f"out{suffix}", observe(scale=4))


def test_case_14_many_pixels(tmp_path, restorer):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 30000, 20000, 1, 0, 0, 0, 0)
    body = zlib.compress(bytes(3751 * 20000), 9)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", head), chunk(b"IDAT", body), chunk(b"IEND", b"")]
    (tmp_path / "a.png").write_bytes(b"".join(parts))
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(PictureError, match="30000×20000 pixels are more than the limit"):
        there_and_back(restorer, tmp_path / "a.png")
    assert limit == Image.MAX_IMAGE_PIXELS


def test_case_15_calibration(tmp_path, restorer):
    tifffile.imwrite(
        tmp_path / "a.tif", GREY16, imagej=True, resolution=(1 / 0.103, 1 / 0.103), metadata={"unit": "um"}
    )
    restore_file(restorer, tmp_path / "a.tif", tmp_path / "b.tif", observe(scale=2))
    size = io.read_whole(tmp_path / "b.tif").metadata.pixel_size
    assert size is not None
    assert (round(size.width, 6), size.unit) == (0.0515, "um")
    restore_file(restorer, tmp_path / "a.tif", tmp_path / "b.tif", observe(scale=2), handling=Handling(strip=True))
    assert io.read_whole(tmp_path / "b.tif").metadata.pixel_size is None


def test_case_16_a_phone_s_photo_in_the_library(tmp_path, restorer):
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 6, "Phone 7"
    Image.fromarray(RGB8).save(tmp_path / "a.jpg", exif=exif, quality=95)
    restore_file(restorer, tmp_path / "a.jpg", tmp_path / "b.png", observe(scale=2))
    with Image.open(tmp_path / "a.jpg") as image:
        answer = restorer(image, scale=2)
    assert answer.size == (2 * H, 2 * W)
    assert np.array_equal(np.asarray(answer), io.read(tmp_path / "b.png").pixels)
    assert answer.getexif()[0x0110] == "Phone 7"
    assert answer.getexif()[0x0112] == 1


def test_floats_in_the_library(restorer):
    image = Image.fromarray(RGB8).convert("F")
    with pytest.warns(UsrnetWarning, match="not from 0 to 1"):
        answer = np.asarray(restorer(image, scale=1, kernel="delta", noise_level=1))
    assert np.abs(answer - np.asarray(image)).mean() < 4
    assert answer.std() > 20
    same = restorer(image, scale=1, kernel="delta", noise_level=1, white=255)
    assert np.abs(np.asarray(same) - np.asarray(image)).mean() < 4
    counts = (SCENE * 4095).astype(">u2")
    out = usrnet.restore(counts[..., :1], model="tv", scale=2, white=4095)
    assert (out.dtype, out.shape) == (counts.dtype, (2 * H, 2 * W, 1))


# Kernels


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_align_places_the_result_on_the_input(tmp_path, restorer, scale):
    truth = gaussian_filter(RNG.random((48 * scale, 48 * scale)), 2 * scale)
    truth = (truth - truth.min()) / np.ptp(truth)
    psf = kernels.gaussian(1.2 * scale, size=25)
    np.save(tmp_path / "psf.npy", psf)
    blurred = usrnet.degrade(truth.astype(np.float32), kernels.align(psf, scale), scale=scale)
    observation = observe(scale=scale, kernel=str(tmp_path / "psf.npy"), noise_level=0.5, align=True)
    placed = restorer.restore(blurred, observation)
    with pytest.warns(UsrnetWarning, match="--align"):
        plain = observe(scale=scale, kernel=str(tmp_path / "psf.npy"), noise_level=0.5, align=False)
    moved = restorer.restore(blurred, plain)
    border = slice(8 * scale, -8 * scale)
    errors = [np.abs(one - truth)[border, border].mean() for one in (placed, moved)]
    assert errors[0] < 0.6 * errors[1]


# Stacks


def axes(path):
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        return series.axes, series.shape, len(file.pages)


STACK = np.stack([np.stack([GREY16 // (c + 1 + z) for c in range(2)]) for z in range(3)])  # Z×C×Y×X


@pytest.mark.parametrize("kind", ["imagej", "ome", "pages", "shaped"])
def test_all_pages_of_a_tiff(tmp_path, restorer, kind):
    source, target = tmp_path / "a.ome.tif", tmp_path / "b.ome.tif"
    if kind != "ome":
        source, target = tmp_path / "a.tif", tmp_path / "b.tif"
    if kind == "imagej":
        tifffile.imwrite(
            source, STACK, imagej=True, resolution=(10, 10), metadata={"axes": "ZCYX", "unit": "um", "spacing": 0.3}
        )
    elif kind == "ome":
        tifffile.imwrite(source, STACK, metadata={"axes": "ZCYX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1})
    elif kind == "shaped":
        tifffile.imwrite(source, STACK, photometric="minisblack", metadata={"axes": "ZCYX"})
    else:
        with tifffile.TiffWriter(source) as writer:
            for page in STACK.reshape(-1, H, W):
                writer.write(page, photometric="minisblack", metadata=None)
    observation = observe(scale=2, kernel="gaussian:1.2", noise_level=2)
    restore_file(restorer, source, target, observation, handling=Handling(all_pages=True))
    with tifffile.TiffFile(source) as file:
        before = file.series[0].axes
    after, shape, _ = axes(target)
    back = tifffile.imread(target)
    assert shape[-2:] == (2 * H, 2 * W)
    assert after == before
    assert back.size == STACK.size * 4
    expected = np.stack([restorer.restore(page, observation) for page in STACK.reshape(-1, H, W)])
    assert np.array_equal(back.reshape(-1, 2 * H, 2 * W), expected)
    with tiff.TiffFile(target) as file:
        size = file.rows().metadata().pixel_size
    if kind in ("imagej", "ome"):
        assert size is not None
        assert size.width == pytest.approx(0.05)


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_every_channel_with_its_own_kernel(tmp_path, restorer, kind):
    source, target = tmp_path / "a.ome.tif", tmp_path / "b.ome.tif"
    if kind == "imagej":
        source, target = tmp_path / "a.tif", tmp_path / "b.tif"
        tifffile.imwrite(source, STACK, imagej=True, metadata={"axes": "ZCYX"})
    else:
        tifffile.imwrite(source, STACK, metadata={"axes": "ZCYX"})
    two = [observe(scale=1, kernel=text, noise_level=2) for text in ("gaussian:0.8", "gaussian:2")]
    restore_file(restorer, source, target, two, handling=Handling(all_pages=True))
    back = tifffile.imread(target)
    for z in range(3):
        for c in range(2):
            assert np.array_equal(back[z, c], restorer.restore(STACK[z, c], two[c]))
    with pytest.raises(PictureError, match="4 kernels were given for 2 channels and 6 planes"):
        restore_file(restorer, source, target, two * 2, handling=Handling(all_pages=True))


def test_every_channel_with_its_own_kernel_and_the_noise_found(tmp_path, restorer):
    scene = gaussian_filter(RNG.random((2, 2, 64, 72)), (0, 0, 1.5, 1.5))
    noisy = 0.2 + 4 * (scene - 0.4) + RNG.normal(0, 6 / 255, scene.shape)
    planes = (noisy.clip(0, 1) * 65535).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", planes, imagej=True, metadata={"axes": "ZCYX"})
    np.save(tmp_path / "two.npy", np.stack([kernels.gaussian(width, size=15) for width in (0.8, 2.0)]))
    known = ask_channels(kernel=str(tmp_path / "two.npy"), scale=1, noise_level="auto")
    first, found = restore_file(
        restorer, tmp_path / "a.tif", tmp_path / "b.tif", known, handling=Handling(all_pages=True)
    )
    assert found is not None
    assert isinstance(first.noise_level, float)
    assert 3 < first.noise_level < 9
    second = observe(scale=1, kernel=str(tmp_path / "two.npy:2"), noise_level=first.noise_level)
    assert np.array_equal(tifffile.imread(tmp_path / "b.tif")[1, 1], restorer.restore(planes[1, 1], second))


def test_bands_of_one_page_with_a_kernel_each(tmp_path, restorer):
    tifffile.imwrite(tmp_path / "a.tif", RGB16, photometric="minisblack", planarconfig="contig")
    three = [observe(scale=1, kernel=f"gaussian:{width}", noise_level=2) for width in (0.8, 1.5, 2)]
    restore_file(restorer, tmp_path / "a.tif", tmp_path / "b.tif", three, handling=Handling(all_pages=True))
    back = tifffile.imread(tmp_path / "b.tif")
    for c in range(3):
        assert np.array_equal(back[..., c], restorer.restore(np.ascontiguousarray(RGB16[..., c]), three[c]))


def test_planes_of_a_stack_share_one_full_scale(tmp_path, restorer):
    stack = np.stack([SCENE[..., 0] * 1000, SCENE[..., 1] * 4000]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    with pytest.warns(UsrnetWarning) as notes:
        there_and_back(restorer, tmp_path / "a.tif", all_pages=True, white="auto")
    assert any("full scale" in str(note.message) for note in notes)
    assert np.array_equal(tifffile.imread(tmp_path / "out.tif"), stack)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_animations_stay_what_they_are(tmp_path, restorer, suffix):
    frames = [Image.fromarray(np.roll(RGB8, 3 * n, 1)).quantize(32).convert("RGB") for n in range(3)]
    frames[0].save(
        tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], duration=[100, 200, 300], loop=0,
        lossless=True,
    )  # fmt: skip
    handling = Handling(all_pages=True)
    target = tmp_path / f"b{suffix}"
    restore_file(restorer, tmp_path / f"a{suffix}", target, observe(scale=2), handling=handling)
    with Image.open(target) as image:
        assert (image.size, getattr(image, "n_frames", 1)) == ((2 * W, 2 * H), 3)
        durations = []
        for index in range(3):
            image.seek(index)
            image.load()
            durations.append(round(image.info["duration"]))
            small = np.asarray(image.convert("RGB").resize((W, H), Image.Resampling.BOX)).astype(int)
            assert np.abs(small - np.asarray(frames[index])).mean() < 8
    assert durations == [100, 200, 300]
    with pytest.raises(PictureError, match="JPEG does not hold the 3 pictures"):
        restore_file(restorer, tmp_path / f"a{suffix}", tmp_path / "b.jpg", observe(scale=2), handling=handling)


def test_a_frame_that_is_larger_than_the_first(tmp_path, restorer):
    frames = [Image.fromarray(np.roll(RGB8, 3 * n, 1)).quantize(32) for n in range(2)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    data = (tmp_path / "a.gif").read_bytes()
    place = data.rindex(b"\x2c" + struct.pack("<HHHH", 0, 0, W, H)) + 5  # the width of the second frame
    (tmp_path / "a.gif").write_bytes(data[:place] + struct.pack("<HH", 9000, 9000) + data[place + 4 :])
    with pytest.raises(PictureError, match=r"18000×9000 pixels"):
        restore_file(
            restorer,
            tmp_path / "a.gif",
            tmp_path / "b.gif",
            NOTHING,
            handling=Handling(all_pages=True),
            max_pixels=10**6,
        )


def test_fits_cubes(tmp_path, restorer):
    fits = pytest.importorskip("astropy.io.fits")
    cube = STACK[:, 0]
    fits.PrimaryHDU(cube).writeto(tmp_path / "a.fits")
    restore_file(restorer, tmp_path / "a.fits", tmp_path / "b.fits", NOTHING, handling=Handling(all_pages=True))
    assert np.array_equal(fits.getdata(tmp_path / "b.fits"), cube)


@pytest.mark.filterwarnings("ignore:.*only the first is used")
def test_the_first_page_of_a_stream_says_what_that_of_a_file_says(tmp_path, restorer):
    """And not that it is a stack, of planes that are not there."""
    tifffile.imwrite(tmp_path / "a.tif", STACK[:, 0], imagej=True, metadata={"axes": "ZYX", "unit": "um"})
    restore_file(restorer, tmp_path / "a.tif", tmp_path / "file.tif", NOTHING)
    with (tmp_path / "a.tif").open("rb") as stream:
        restore_file(restorer, stream, tmp_path / "stream.tif", NOTHING)
    assert (tmp_path / "stream.tif").read_bytes() == (tmp_path / "file.tif").read_bytes()
    assert tifffile.imread(tmp_path / "stream.tif").shape == STACK.shape[2:]


# Large files, by rows


@pytest.fixture
def large(monkeypatch):
    """Every TIFF counts as large."""
    monkeypatch.setattr(files, "LARGE_BYTES", 0)


def save(path, array, **options):
    colour = array.ndim == 3 and array.shape[2] >= 3
    extra = ["unassalpha"] if array.ndim == 3 and array.shape[2] in (2, 4) else None
    tifffile.imwrite(
        path, array, photometric="rgb" if colour else "minisblack", extrasamples=extra, metadata=None,
        planarconfig="contig" if array.ndim == 3 else None, **options,
    )  # fmt: skip
    return path


@pytest.mark.parametrize("channels", [0, 2, 3, 4])
@pytest.mark.parametrize("scale", [1, 2])
def test_by_rows_gives_what_memory_gives(tmp_path, monkeypatch, channels, scale):
    array = np.tile(np.dstack([RGB16, GREY16]), (3, 2, 1))[..., :channels] if channels else np.tile(GREY16, (3, 2))
    source = save(tmp_path / "a.tif", np.ascontiguousarray(array), tile=(16, 16), compression="zlib")
    restorer = Restorer("tv", tile=32)
    restore_file(restorer, source, tmp_path / "memory.tif", observe(scale=scale))
    monkeypatch.setattr(files, "LARGE_BYTES", 0)

    def no(*_, **__):
        raise AssertionError("the picture was read as a whole")

    with monkeypatch.context() as patch:
        patch.setattr(tiff.TiffRows, "_all", no)
        patch.setattr(io, "read_whole", no)
        restore_file(restorer, source, tmp_path / "rows.tif", observe(scale=scale))
    one, two = (io.read(tmp_path / f"{name}.tif").pixels for name in ("memory", "rows"))
    np.testing.assert_array_equal(one, two)


def test_by_rows_with_further_bands(tmp_path, monkeypatch):
    bands = np.tile(np.dstack([RGB16, GREY16, GREY16 // 2]), (3, 2, 1))
    tifffile.imwrite(
        tmp_path / "a.tif", bands, photometric="rgb", extrasamples=["unassalpha", "unspecified"], rowsperstrip=5,
        compression="lzw", predictor=True,
    )  # fmt: skip
    restorer = Restorer("tv", tile=32)
    restore_file(restorer, tmp_path / "a.tif", tmp_path / "memory.tif", observe(scale=2))
    monkeypatch.setattr(files, "LARGE_BYTES", 0)
    restore_file(restorer, tmp_path / "a.tif", tmp_path / "rows.tif", observe(scale=2))
    one, two = (tifffile.imread(tmp_path / f"{name}.tif") for name in ("memory", "rows"))
    assert np.array_equal(one, two)


def test_bad_files_by_rows(tmp_path, large, restorer):
    (tmp_path / "a.tif").write_bytes(b"II*\0 but no more of a TIFF")
    with pytest.raises(PictureError, match=r"a\.tif"):
        restore_file(restorer, tmp_path / "a.tif", tmp_path / "out.tif", observe(scale=1))
    save(tmp_path / "b.tif", np.tile(GREY16, (12, 8)), compression="zlib", rowsperstrip=10)
    whole = (tmp_path / "b.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(whole[:20_000] + bytes(1000) + whole[21_000:])
    with pytest.raises(PictureError, match=r"b\.tif: the picture is damaged"):
        restore_file(restorer, tmp_path / "b.tif", tmp_path / "out.tif", observe(scale=1))
    array = SCENE[..., 0].astype(np.float32)
    array[-1, -1] = np.inf
    save(tmp_path / "c.tif", array, rowsperstrip=10)
    with pytest.raises(PictureError, match=r"c\.tif: .* infinite values: replace them by NaN"):
        restore_file(restorer, tmp_path / "c.tif", tmp_path / "out.tif", observe(scale=1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "b.tif", "c.tif"]


def test_further_pages_are_named(tmp_path, large, restorer):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for _ in range(2):
            writer.write(GREY16, rowsperstrip=8, metadata=None)
    with pytest.warns(UsrnetWarning, match="2 pages, only the first is used"):
        restore_file(restorer, tmp_path / "a.tif", tmp_path / "b.tif", observe(scale=1))


# Folders


def test_good_ones_are_done_and_bad_ones_are_named(tmp_path, restorer):
    recipe = Recipe.of_settings(1, "delta", 0.0, "tv")
    names = []
    for index in range(20):
        suffix = (".png", ".jpg", ".tif", ".webp", ".bmp")[index % 5]
        path = tmp_path / f"{index}{suffix}"
        Image.fromarray(RGB8).save(path)
        if index % 10 == 3:
            path.write_bytes(path.read_bytes()[:60])
        names.append(path)
    jobs = [Job(path, tmp_path / "out" / f"{path.name}.png", recipe) for path in names]
    outcomes = list(restore_pictures(restorer, jobs, NOTHING))
    assert [outcome.status for outcome in outcomes].count("failed") == 2
    assert all(outcome.job.names[0] in outcome.message for outcome in outcomes if outcome.status == "failed")
    assert len(list((tmp_path / "out").iterdir())) == 18


def test_several_kernels_for_one_picture(tmp_path, restorer):
    Image.fromarray(RGB8).save(tmp_path / "a.png")
    with pytest.raises(UsrnetError, match="2 kernels were given for one picture"):
        restore_file(restorer, tmp_path / "a.png", tmp_path / "b.png", [NOTHING, NOTHING])


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(("dtype", "missing", "range_"), [("float32", -9999, 100), ("uint16", 0, 7000)])
def test_what_a_geotiff_declares_missing_stays_missing(
    tmp_path, monkeypatch, restorer, large, dtype, missing, range_
):
    bands = 1 if dtype == "float32" else 3
    if large:
        monkeypatch.setattr(files, "LARGE_BYTES", 0)
        monkeypatch.setattr("usrnet.io.gaps._ROWS", 4)
    measured = (1000 + range_ * SCENE).astype(dtype)
    gappy = measured.copy()
    gappy[:9, :] = missing  # whole strips of nothing too
    gappy[12:20, 20:] = missing
    gappy, measured = (gappy, measured) if bands == 3 else (gappy[..., 0], measured[..., 0])
    text = str(missing).encode()
    tifffile.imwrite(
        tmp_path / "a.tif", gappy, photometric="rgb" if bands == 3 else "minisblack", compression="zlib",
        rowsperstrip=5, extratags=[(42113, "s", 0, text, True)],
    )  # fmt: skip
    known = observe(scale=2, kernel="gaussian:1.2", noise_level=1)
    with (
        pytest.warns(UsrnetWarning, match="values lie from 10"),  # and not from what is missing
        pytest.warns(UsrnetWarning, match=rf"of its {gappy.size} values \(.*%\) are missing \(.*{missing}\)"),
    ):
        restore_file(restorer, tmp_path / "a.tif", tmp_path / "out.tif", known)
    result = tifffile.imread(tmp_path / "out.tif")
    gaps = (gappy == missing).repeat(2, 0).repeat(2, 1)
    assert (result[gaps] == missing).all()
    assert 900 < result[~gaps].min() <= result[~gaps].max() < 1.1 * (1000 + range_)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.pages.first.tags[42113].value == str(missing)


@pytest.mark.parametrize("all_pages", [False, True])
@pytest.mark.parametrize(
    "unknown", [{"kernel": "auto", "noise_level": "auto"}, {"kernel": "delta", "noise_level": "auto"}]
)
@pytest.mark.filterwarnings("ignore:.*only the first is used", "ignore:.*are missing")
def test_what_is_missing_counts_for_nothing_where_blur_and_noise_are_found(tmp_path, restorer, all_pages, unknown):
    """A stack with gaps is taken for what the same stack is without them, filled with what lies beside them."""
    missing = 65535
    measured = np.tile(20000 + 20000 * SCENE[..., 0], (5, 4))
    measured = (measured + 300 * np.random.default_rng(1).standard_normal(measured.shape)).astype(np.uint16)
    gappy = measured.copy()
    gappy[20:60, 30:80], gappy[70::11, ::7] = missing, missing
    found = []
    for name, page in (("filled", Gaps(gappy, survey(gappy, missing=missing))[:]), ("gappy", gappy)):
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as writer:
            for _ in range(2):
                tags = [(42113, "s", 0, str(missing).encode(), True)] if name == "gappy" else []
                writer.write(page, photometric="minisblack", metadata=None, extratags=tags)
        source, target = tmp_path / f"{name}.tif", tmp_path / f"{name}_out.tif"
        handling = Handling(all_pages=all_pages)
        _, estimate = restore_file(restorer, source, target, ask(scale=1, **unknown), handling=handling)
        assert estimate is not None
        found.append((estimate.noise_level, estimate.kernel.tolist()))
    assert found[0] == found[1]
    assert found[0][0] < 4  # and not the steps at the gaps
    result = tifffile.imread(tmp_path / "gappy_out.tif", key=0)
    assert np.array_equal(result == missing, gappy == missing)


GAPPY = (1000 + 3000 * SCENE[..., 0]).astype(np.float32)
GAPPY[:9], GAPPY[12:20, 20:], GAPPY[22, 3] = np.nan, np.nan, np.nan
GAPS = np.isnan(GAPPY)
BLURRED = observe(scale=2, kernel="gaussian:1.2", noise_level=1, saturation="off")


def enlarged(gaps):
    return gaps.repeat(2, -2).repeat(2, -1)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("named", [None, -9999])
@pytest.mark.filterwarnings("ignore:.*is taken as full scale")
def test_nan_stays_missing(tmp_path, monkeypatch, restorer, large, named):
    """Beside a value that the file names, too; every gap is what it was."""
    if large:
        monkeypatch.setattr(files, "LARGE_BYTES", 0)
        monkeypatch.setattr("usrnet.io.gaps._ROWS", 4)
    array, tags = GAPPY.copy(), []
    if named is not None:
        array[-2:, :5], tags = named, [(42113, "s", 0, str(named).encode(), True)]
    tifffile.imwrite(tmp_path / "a.tif", array, rowsperstrip=5, extratags=tags)
    count = int((np.isnan(array) | (array == -9999)).sum())
    with pytest.warns(UsrnetWarning, match=rf"a\.tif: {count} of its 864 values \(5.\..%\) are missing \(NaN"):
        restore_file(restorer, tmp_path / "a.tif", tmp_path / "out.tif", BLURRED)
    result = tifffile.imread(tmp_path / "out.tif")
    assert np.array_equal(np.isnan(result), enlarged(np.isnan(array)))
    assert np.array_equal(result == -9999, enlarged(array == -9999))
    seen = result[np.isfinite(result) & (result != -9999)]
    assert 500 < seen.min() <= seen.max() < 4500


@pytest.mark.parametrize("blank", [None, "int16", "uint16", "int32"])
@pytest.mark.filterwarnings("ignore:.*of the range", "ignore:.*full scale", "ignore:.*does not hold")
def test_gaps_of_fits(tmp_path, restorer, blank):
    fits = pytest.importorskip("astropy.io.fits")
    unit, missing = fits.PrimaryHDU(GAPPY[::-1]), np.nan
    if blank:
        missing = int(np.iinfo(blank).max)
        unit = fits.PrimaryHDU(np.where(GAPS, np.array(missing, blank), np.nan_to_num(GAPPY).astype(blank))[::-1])
        unit.header["BLANK"] = missing - unit.header.get("BZERO", 0)
    unit.writeto(tmp_path / "a.fits")
    for suffix in ("fits", "tif"):
        with pytest.warns(UsrnetWarning, match=rf"{GAPS.sum()} of its 864 values"):
            restore_file(restorer, tmp_path / "a.fits", tmp_path / f"out.{suffix}", BLURRED)
        result = io.read_whole(tmp_path / f"out.{suffix}")
        assert result.pixels.dtype == (blank or np.float32)
        gaps = result.pixels == missing if blank else np.isnan(result.pixels)
        assert np.array_equal(gaps, enlarged(GAPS))
        assert 500 < result.pixels[~gaps].min() <= result.pixels[~gaps].max() < 4500
        assert result.metadata.missing == (missing if blank else None)


@pytest.mark.filterwarnings("ignore:.*full scale", "ignore:.*does not hold")
def test_a_geotiff_becomes_a_fits_of_floats_with_nan(tmp_path, restorer):
    fits = pytest.importorskip("astropy.io.fits")
    array = np.where(GAPS, np.float32(-9999), GAPPY)
    tifffile.imwrite(tmp_path / "a.tif", array, extratags=[(42113, "s", 0, b"-9999", True)])
    with pytest.warns(UsrnetWarning, match="are missing"):
        restore_file(restorer, tmp_path / "a.tif", tmp_path / "out.fits", BLURRED)
    assert np.array_equal(np.isnan(fits.getdata(tmp_path / "out.fits"))[::-1], enlarged(GAPS))


@pytest.mark.filterwarnings("ignore:.*full scale")
def test_a_stripped_result_still_names_its_missing_value(tmp_path, restorer):
    tifffile.imwrite(tmp_path / "a.tif", GREY16, extratags=[(42113, "s", 0, str(GREY16[0, 0]).encode(), True)])
    with pytest.warns(UsrnetWarning, match="are missing"):
        there_and_back(restorer, tmp_path / "a.tif", strip=True)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.pages.first.tags[42113].value == str(GREY16[0, 0])


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.filterwarnings("ignore:.*full scale")
def test_planes_of_a_cube_may_be_gaps_as_a_whole(tmp_path, restorer, unknown):
    """What is unknown is found in the first plane that holds anything."""
    fits = pytest.importorskip("astropy.io.fits")
    rng = np.random.default_rng(0)
    plane = np.tile(GAPPY, (4, 3)) + 30 * rng.standard_normal((4 * H, 3 * W)).astype(np.float32)
    fits.PrimaryHDU(np.stack([np.full_like(plane, np.nan), plane, plane])[:, ::-1]).writeto(tmp_path / "a.fits")
    known = ask(scale=2, kernel="gaussian:1.2", noise_level="auto", saturation="off") if unknown else BLURRED
    with pytest.warns(UsrnetWarning, match=r"of its 31104 values \(.*%\) are missing \(NaN\)"):
        _, estimate = restore_file(
            restorer, tmp_path / "a.fits", tmp_path / "out.fits", known, handling=Handling(all_pages=True)
        )
    result = fits.getdata(tmp_path / "out.fits")[:, ::-1]
    assert np.isnan(result[0]).all()
    for index in (1, 2):
        assert np.array_equal(np.isnan(result[index]), enlarged(np.isnan(plane)))
    if unknown:
        assert estimate is not None
        assert 1 < estimate.noise_level < 5  # 30 of a range of 3000


@pytest.mark.parametrize(
    ("suffix", "value", "said"), [("png", "nan", "they are black"), ("jpg", "nan", "black"), ("png", "7", "were 7")]
)
@pytest.mark.filterwarnings("ignore:.*full scale", "ignore:.*holds no floats", "ignore:.*place on Earth")
@pytest.mark.filterwarnings("ignore:.*of the range")
def test_a_picture_that_cannot_say_what_is_missing(tmp_path, restorer, suffix, value, said):
    array = GAPPY if value == "nan" else np.where(GAPS, 7, np.nan_to_num(GAPPY)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, extratags=[(42113, "s", 0, value.encode(), True)])
    with (
        pytest.warns(UsrnetWarning, match="are missing"),
        pytest.warns(UsrnetWarning, match=rf"out\..*does not say which values are missing.*{said}"),
    ):
        restore_file(restorer, tmp_path / "a.tif", tmp_path / f"out.{suffix}", BLURRED)
    result = io.read(tmp_path / f"out.{suffix}").pixels
    if suffix == "png":
        assert (result[enlarged(GAPS)] == (0 if value == "nan" else 7)).all()
    assert result[:15].max() < 30


@pytest.mark.parametrize("all_pages", [False, True])
@pytest.mark.parametrize("suffix", ["tif", "fits"])
@pytest.mark.filterwarnings("ignore:.*only the first is used")
def test_nothing_but_nan_and_infinite_values_are_refused(tmp_path, restorer, suffix, all_pages):
    fits = pytest.importorskip("astropy.io.fits")
    infinite = GAPPY.copy()
    infinite[-1, -1] = -np.inf
    for plane, text in (
        (np.full_like(GAPPY, np.nan), r"nothing in it was measured.*\(NaN\)"),
        (infinite, "infinite values: replace them by NaN, which counts as missing, or by numbers"),
    ):
        array = np.stack([plane, plane])
        if suffix == "tif":
            tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack")
        else:
            fits.PrimaryHDU(array).writeto(tmp_path / "a.fits", overwrite=True)
        with pytest.raises(PictureError, match=rf"a\.{suffix}: .*{text}"):
            restore_file(
                restorer, tmp_path / f"a.{suffix}", tmp_path / f"out.{suffix}", BLURRED,
                handling=Handling(all_pages=all_pages),
            )  # fmt: skip
        assert not (tmp_path / f"out.{suffix}").exists()


def test_arrays_with_nan_are_refused(restorer):
    with pytest.raises(UsrnetError, match="not finite"):
        restorer(GAPPY / 4000, scale=1)


@pytest.mark.filterwarnings("ignore:.*full scale")
def test_what_watches_a_result_sees_no_gaps(tmp_path, restorer):
    tifffile.imwrite(tmp_path / "a.tif", GAPPY)
    seen = []

    def watch(strips):
        for strip in strips:
            seen.append(np.isfinite(strip).all())
            yield strip

    with pytest.warns(UsrnetWarning, match="are missing"):
        restore_file(restorer, tmp_path / "a.tif", tmp_path / "out.tif", BLURRED, watch=watch)
    assert seen
    assert all(seen)


@pytest.mark.parametrize("text", ["-9999", "nan", "1.5", "words"])
def test_a_missing_value_that_the_type_does_not_hold(tmp_path, restorer, text):
    tags = [(42113, "s", 0, text.encode(), True)]
    tifffile.imwrite(tmp_path / "a.tif", RGB8, photometric="rgb", extratags=tags)
    assert np.array_equal(there_and_back(restorer, tmp_path / "a.tif"), RGB8)


@pytest.mark.parametrize("kind", ["imagej", "ome", "shaped", "words"])
def test_strip_leaves_the_axes_of_a_stack_and_nothing_else(tmp_path, restorer, kind):
    stack, name = np.stack([GREY16, GREY16 // 2])[:, None], f"a.{'ome.' * (kind == 'ome')}tif"
    secret = "Joe, 12 Elm St"
    if kind == "ome":
        options = {"ome": True, "metadata": {"axes": "CZYX", "Description": secret, "PhysicalSizeX": 0.5}}
        tifffile.imwrite(tmp_path / name, stack, **options)
    elif kind == "imagej":
        options = {"imagej": True, "metadata": {"axes": "ZCYX", "Info": secret}}
        tifffile.imwrite(tmp_path / name, stack.swapaxes(0, 1), **options)
    elif kind == "shaped":
        tifffile.imwrite(tmp_path / name, stack, metadata={"axes": "CZYX", "who": secret})
    else:
        tifffile.imwrite(tmp_path / name, stack[:, 0], description=secret, metadata=None, software=False)
    out = tmp_path / f"out{name[1:]}"
    restore_file(restorer, tmp_path / name, out, NOTHING, handling=Handling(all_pages=True, strip=True))
    assert secret.encode() not in out.read_bytes()
    with tifffile.TiffFile(out) as file:
        assert len(file.pages) == 2
        if kind in ("imagej", "ome", "shaped"):
            assert file.series[0].axes.replace("Z", "") == "CYX"
            assert np.array_equal(file.series[0].asarray().squeeze(), stack.squeeze())


def test_a_tiff_says_what_it_does_not_hold(tmp_path, restorer):
    chunks = PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", 100_000))
    Image.fromarray(RGB8).save(tmp_path / "a.png", pnginfo=chunks)
    with pytest.warns(UsrnetWarning, match="TIFF does not hold: gamma"):
        restore_file(restorer, tmp_path / "a.png", tmp_path / "a.tif", NOTHING)
