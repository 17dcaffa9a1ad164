"""What a file names as missing, and what is read, filled and written where it is."""

import struct
import warnings
from typing import Any

import numpy as np
import pytest
import tifffile

from usrnet import io
from usrnet.errors import UsrnetWarning
from usrnet.io import tiff
from usrnet.io.gaps import Gaps, apart, filled, survey, value_of
from usrnet.restoration import Handling, Restorer, observe, restore_file

NOTHING = observe(scale=1, kernel="delta", noise_level=0)  # y = x
LOWEST = float(np.finfo(np.float32).min)
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    return Restorer("tv", device="cpu", precision="fp32")


def named(text):
    return [(42113, "s", 0, str(text).encode(), True)]


@pytest.mark.parametrize(
    ("text", "dtype", "value"),
    [
        ("-3.4028234663852886e+38", "f4", LOWEST),
        ("-3.40282347e+38", "f4", LOWEST),
        ("-3.40282346639e+038", "f4", LOWEST),  # ESRI
        ("-3.4028235e+38", "f4", LOWEST),
        ("-1e39", "f4", None),
        ("0.1", "f4", float(np.float32(0.1))),
        ("-3,4e38\0", "f4", float(np.float32(-3.4e38))),
        ("-1.79769313486232e+308", "f8", np.finfo(float).min),
        ("1.797693134862315e+308", "f8", np.finfo(float).max),
        ("-1.7e+308", "f8", -1.7e308),
        ("-inf", "f8", None),
        ("255.0", "u1", 255),
        ("256", "u1", None),
        ("-1", "u1", None),
        ("1.5", "i2", None),
        ("inf", "i2", None),
        ("nan", "i2", None),
        ("words", "f4", None),
        (-32768, "i2", -32768),
    ],
)
def test_the_value_that_a_text_names(text, dtype, value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert value_of(text, np.dtype(dtype)) == value


@pytest.mark.parametrize(
    ("text", "dtype"), [("-3.40282347e+38", "f4"), ("-3.40282346639e+038", "f4"), ("-1.79769313486232e+308", "f8")]
)
def test_the_lowest_float_is_missing_however_its_text_is_rounded(tmp_path, restorer, text, dtype):
    lowest = np.finfo(dtype).min
    array = RNG.random((12, 16)).astype(dtype)
    array[3:6, 4:9] = lowest
    tifffile.imwrite(tmp_path / "a.tif", array, extratags=named(text))
    with pytest.warns(UsrnetWarning, match="15 of its 192 values"):
        restore_file(restorer, tmp_path / "a.tif", tmp_path / "b.tif", NOTHING)
    result = tifffile.imread(tmp_path / "b.tif")
    assert np.array_equal(result == lowest, array == lowest)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert float(file.pages.first.tags[42113].value) == lowest


def test_nan_stays_named(tmp_path):
    array = RNG.random((12, 16)).astype(np.float32)
    array[2, 3] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", array, extratags=named("nan"))
    picture = io.read_whole(tmp_path / "a.tif")
    assert survey(picture.pixels, missing=picture.metadata.missing).meaning == "NaN"
    io.write(tmp_path / "b.tif", picture)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages.first.tags[42113].value == "nan"


@pytest.mark.parametrize(
    ("stored", "text", "options", "missing"),
    [
        (255, "255", {"photometric": "miniswhite"}, 0),
        (4095, "4095", {"bitspersample": 12}, 65535),
        (3, "3", {"bitspersample": 4}, 51),
        (3, "3", {"bitspersample": 4, "photometric": "miniswhite"}, 204),
        (3, "16", {"bitspersample": 4}, None),
        (-5, "-5", {}, -5),
    ],
)
@pytest.mark.filterwarnings("ignore:.*bits per sample become", "ignore:.*of the range")
def test_the_value_is_one_of_stored_samples(tmp_path, stored, text, options, missing):
    bits = options.get("bitspersample", 8)
    array = RNG.integers(4, 2**bits - 1 if bits != 8 else 100, (16, 16))
    array[2:5, 3:7] = stored
    dtype = "uint16" if bits == 12 else "int8" if stored < 0 else "uint8"
    try:
        tifffile.imwrite(tmp_path / "a.tif", array.astype(dtype), extratags=named(text), **options)
    except NotImplementedError:
        pytest.skip("this imagecodecs reads samples of few bits but does not write them")
    whole = io.read_whole(tmp_path / "a.tif")
    assert whole.metadata.missing == missing
    if missing is None:
        return
    assert np.array_equal(whole.pixels == missing, array == stored)
    with pytest.warns(UsrnetWarning, match="12 of its 256 values"):
        assert io.read(tmp_path / "a.tif").metadata.missing is None
    io.write(tmp_path / "b.tif", whole)
    assert io.read_whole(tmp_path / "b.tif").metadata.missing == missing


def test_bits_have_a_missing_value(tmp_path):
    array = RNG.random((16, 16)) > 0.3
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", extratags=named("0"))
    assert io.read_whole(tmp_path / "a.tif").metadata.missing == 0


@pytest.mark.parametrize("kind", ["palette", "separated", "cielab", "ycbcr"])
@pytest.mark.filterwarnings("ignore:.*without a profile")
def test_a_stored_value_that_no_colour_is_does_not_count(tmp_path, kind):
    """It would be taken for a level of red, green or blue, which has nothing to do with it."""
    options: dict[str, Any] = {"photometric": kind}
    if kind == "palette":
        table = np.zeros((3, 256), np.uint16)
        table[0, 0], table[1, 1] = 65535, 65535
        array = (np.arange(256).reshape(16, 16) % 2).astype(np.uint8)
        options["colormap"] = table
    else:
        array = RNG.integers(0, 255, (16, 16, 4 if kind == "separated" else 3), np.uint8)
        if kind == "ycbcr":
            options["subsampling"] = (1, 1)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, extratags=named("0"), metadata=None, **options)
    with pytest.warns(UsrnetWarning, match=r"its missing value \(0\) is one of stored samples"):
        picture = io.read_whole(path)
    assert picture.metadata.missing is None
    if kind == "palette":
        assert picture.pixels[0, 0].tolist() == [255, 0, 0]


def test_a_picture_whose_gaps_were_filled_names_none(tmp_path):
    array = RNG.integers(0, 9, (16, 16), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, extratags=named("0"))
    with pytest.warns(UsrnetWarning, match="are missing"):
        picture = io.read(tmp_path / "a.tif")
    assert not picture.metadata.geo
    io.write(tmp_path / "b.tif", picture)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert 42113 not in file.pages.first.tags


@pytest.mark.filterwarnings("ignore:.*are missing")
def test_a_missing_value_is_no_place_on_earth(tmp_path, recwarn):
    pytest.importorskip("astropy.io.fits")
    tifffile.imwrite(tmp_path / "a.tif", RNG.integers(0, 9, (16, 16), np.uint8), extratags=named("0"))
    io.write(tmp_path / "b.fits", io.read_whole(tmp_path / "a.tif"))
    assert not [warning for warning in recwarn if "place on Earth" in str(warning.message)]


@pytest.mark.parametrize("missing", [0, 255])
def test_alpha_has_no_gaps(tmp_path, restorer, missing):
    array = RNG.integers(20, 200, (16, 20, 4), np.uint8)
    array[..., 3], array[:4, :5, 3], array[8:10, 8:10, :3] = 255, 0, missing
    tifffile.imwrite(
        tmp_path / "a.tif", array, photometric="rgb", extrasamples=["unassalpha"], extratags=named(missing)
    )
    with pytest.warns(UsrnetWarning, match=r"12 of its 960 values \(1.25%\)"):
        restore_file(restorer, tmp_path / "a.tif", tmp_path / "b.tif", NOTHING)
    result = tifffile.imread(tmp_path / "b.tif")
    assert np.array_equal(result[..., 3], array[..., 3])
    assert np.array_equal(result == missing, array == missing)
    with pytest.warns(UsrnetWarning, match="12 of its 960 values"):
        assert np.array_equal(io.read(tmp_path / "a.tif").pixels[..., 3], array[..., 3])


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_alpha_that_is_not_known_is_transparent(tmp_path, kind):
    array = RNG.random((12, 16, 4)).astype(np.float32)
    array[..., 3], array[:3, :, 3], array[6, 6, :3] = 1, np.nan, np.nan
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extrasamples=[kind])
    picture = io.read_whole(tmp_path / "a.tif")
    assert (picture.pixels[:3, :, 3] == 0).all()
    assert np.array_equal(np.isnan(picture.pixels[..., :3]), np.isnan(array[..., :3]))


def test_a_band_is_filled_with_values_of_its_own():
    bands = np.stack([np.full((8, 6), 10), np.full((8, 6), 200), np.full((8, 6), 90)], axis=-1).astype(np.uint8)
    bands[:4, :, 1] = 0  # all of what is read at once
    found = survey(bands, extra=2, missing=0)
    assert found.usual == (10, 200, 90)
    assert (Gaps(bands, found)[:4][..., 1] == 200).all()


def test_what_comes_out_as_missing_is_moved():
    values = np.array([[0, 3, 255]], np.uint8)
    assert apart(values, 0).tolist() == [[1, 3, 255]]
    assert apart(values, 255).tolist() == [[0, 3, 254]]
    assert apart(np.array([[-32768]], np.int16), -32768).tolist() == [[-32767]]
    assert apart(values, None) is values
    assert filled(values, survey(values + np.uint8(1)))[1] is None


@pytest.mark.parametrize("gaps", [0, 1])
def test_what_was_measured_does_not_become_missing(tmp_path, restorer, gaps):
    array = np.full((32, 32), 60, np.uint8)
    array[8:24, 8:24], array[0, :gaps] = 3, 0
    tifffile.imwrite(tmp_path / "a.tif", array, extratags=named("0"))
    tifffile.imwrite(tmp_path / "bare.tif", np.maximum(array, 3))
    known = observe(scale=2, kernel="gaussian:1.6", noise_level=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UsrnetWarning)
        restore_file(restorer, tmp_path / "a.tif", tmp_path / "b.tif", known)
        restore_file(restorer, tmp_path / "bare.tif", tmp_path / "c.tif", known)
    assert (tifffile.imread(tmp_path / "c.tif") == 0).any()  # the test has something to find
    assert (tifffile.imread(tmp_path / "b.tif") == 0).sum() == 4 * gaps


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("missing", [-9999, "nan", None])
def test_the_holes_of_a_sparse_file_are_missing(tmp_path, tiled, missing):
    path, array = tmp_path / "a.tif", RNG.random((64, 64)).astype(np.float32)
    tags = [] if missing is None else named(missing)
    options: dict[str, Any] = {"tile": (32, 32)} if tiled else {"rowsperstrip": 64}
    tifffile.imwrite(path, array, extratags=tags, **options)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for name in ("Offsets", "ByteCounts"):  # of the first piece
            tag = file.pages.first.tags[("Tile" if tiled else "Strip") + name]
            struct.pack_into("<I" if tag.dtype == 4 else "<H", data, tag.valueoffset, 0)
    path.write_bytes(data)
    with tiff.TiffFile(path) as file:
        pixels = file.rows()[:]
    hole = 0.0 if missing is None else float(missing)
    gone = np.isnan(pixels) if missing == "nan" else pixels == hole
    expected = np.zeros((64, 64), bool)
    expected[(slice(32), slice(32)) if tiled else slice(None)] = True
    assert np.array_equal(gone, expected)
    assert np.array_equal(pixels[~expected], array[~expected])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("missing", [(0, 7), (7, 0), (None, 7), (3, 9)])
@pytest.mark.filterwarnings("ignore:.*are missing", "ignore:.*full scale", "ignore:.*of the range")
def test_pages_that_name_different_values_keep_their_gaps_in_fits(tmp_path, restorer, dtype, missing):
    fits = pytest.importorskip("astropy.io.fits")
    pages = [RNG.integers(20, 200, (16, 16)).astype(dtype) for _ in range(2)]
    for index, (page, value) in enumerate(zip(pages, missing, strict=True)):
        if value is not None:
            page[1, index : index + 3] = value
    pages[1][5, 5] = 0 if missing == (0, 7) else 100  # measured, as what is missing on the other page
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page, value in zip(pages, missing, strict=True):
            writer.write(page, contiguous=False, extratags=[] if value is None else named(value))
    restore_file(restorer, tmp_path / "a.tif", tmp_path / "b.fits", NOTHING, handling=Handling(all_pages=True))
    with fits.open(tmp_path / "b.fits", do_not_scale_image_data=True) as units:
        cube, blank = units[0].data[:, ::-1], units[0].header.get("BLANK")
    gone = np.isnan(cube) if dtype == np.float32 else cube == blank
    for page, value, found, gaps in zip(pages, missing, cube, gone, strict=True):
        expected = np.zeros(page.shape, bool) if value is None else page == value
        assert np.array_equal(gaps, expected)
        assert np.abs(found[~gaps] - page[~gaps]).max() < 1e-4


@pytest.mark.filterwarnings("ignore:.*are missing")
def test_pages_none_of_whose_values_is_free(tmp_path, restorer):
    fits = pytest.importorskip("astropy.io.fits")
    pages = [np.full((16, 16), 100, np.uint8) for _ in range(2)]
    for page, (own, other) in zip(pages, [(0, 7), (7, 0)], strict=True):
        page[1, 1], page[2, 2] = own, other
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page, value in zip(pages, (0, 7), strict=True):
            writer.write(page, contiguous=False, extratags=named(value))
    with pytest.warns(UsrnetWarning, match="one missing value for all planes, 0"):
        restore_file(restorer, tmp_path / "a.tif", tmp_path / "b.fits", NOTHING, handling=Handling(all_pages=True))
    with fits.open(tmp_path / "b.fits", do_not_scale_image_data=True) as units:
        cube = units[0].data[:, ::-1]
        assert units[0].header["BLANK"] == 0
    assert cube[:, 1, 1].tolist() == [0, 0]
    assert cube[:, 2, 2].tolist() == [7, 1]


@pytest.mark.parametrize(("dtype", "missing"), [(np.float32, -9999), (np.uint8, 9), (np.float32, "nan")])
def test_missing_colours_are_not_divided_by_alpha(tmp_path, dtype, missing):
    half = 0.5 if dtype == np.float32 else 128
    array = (RNG.random((16, 16, 4)) * half).astype(dtype) + np.array(half / 4, dtype)
    array[..., 3], array[2:4, :, :3], array[3, 3:6, 3] = half, float(missing), 0
    tifffile.imwrite(
        tmp_path / "a.tif", array, photometric="rgb", extrasamples=["assocalpha"], extratags=named(missing)
    )
    pixels = io.read_whole(tmp_path / "a.tif").pixels
    gone = np.isnan(pixels) if missing == "nan" else pixels == missing
    assert gone[2:4, :, :3].all()
    assert gone.sum() == 2 * 16 * 3
    assert pixels[8, 8, 0] == pytest.approx(min(2 * float(array[8, 8, 0]), 255), rel=0.02)
