"""FITS as astronomers write it."""

import numpy as np
import pytest

from usrnet import io
from usrnet.errors import PictureError, UsrnetWarning

fits = pytest.importorskip("astropy.io.fits")
COUNTS = (np.random.default_rng(0).random((20, 30)) * 60000).astype(np.uint16)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64])
def test_every_type_is_kept(tmp_path, dtype):
    values = (COUNTS / 300).astype(dtype)
    fits.PrimaryHDU(values).writeto(tmp_path / "a.fits")
    picture = io.read_whole(tmp_path / "a.fits")
    assert picture.pixels.dtype == dtype
    assert np.array_equal(picture.pixels, values[::-1])  # the first row is at the bottom
    io.write(tmp_path / "b.fits", picture)
    assert np.array_equal(fits.getdata(tmp_path / "b.fits"), values)


def test_scaled_numbers(tmp_path):
    unit = fits.PrimaryHDU(COUNTS.astype(np.float32))
    unit.scale("int16", bscale=2.0, bzero=40000)
    unit.writeto(tmp_path / "a.fits")
    assert np.abs(io.read_whole(tmp_path / "a.fits").pixels[::-1] - COUNTS).max() <= 1


def test_the_header_is_kept_and_the_grid_made_finer(tmp_path):
    unit = fits.PrimaryHDU(COUNTS)
    unit.header["OBJECT"], unit.header["CRPIX1"], unit.header["CRPIX2"] = "M 31", 15.5, 1.0
    unit.header["CDELT1"], unit.header["CD2_2"] = -0.4, 0.4
    unit.writeto(tmp_path / "a.fits")
    picture = io.read_whole(tmp_path / "a.fits")
    enlarged = io.result_of(picture, picture.pixels.repeat(2, 0).repeat(2, 1), 2)
    io.write(tmp_path / "b.fits", enlarged)
    header = fits.getheader(tmp_path / "b.fits")
    assert (header["OBJECT"], header["NAXIS1"], header["BZERO"]) == ("M 31", 60, 32768)
    assert (header["CRPIX1"], header["CRPIX2"]) == (30.5, 1.5)
    assert (header["CDELT1"], header["CD2_2"]) == (-0.2, 0.2)
    with pytest.warns(UsrnetWarning, match="PNG does not hold: FITS header"):
        io.write(tmp_path / "b.png", picture)


def test_extensions_and_cubes(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.zeros(3))])
    cube = np.stack([COUNTS, COUNTS // 2, COUNTS // 3])
    fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(cube)]).writeto(tmp_path / "a.fits")
    with pytest.warns(UsrnetWarning, match="3 planes, only the first is used"):
        assert np.array_equal(io.read_whole(tmp_path / "a.fits").pixels, COUNTS[::-1])
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(COUNTS)]).writeto(tmp_path / "b.fits")
    assert np.array_equal(io.read_whole(tmp_path / "b.fits").pixels, COUNTS[::-1])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "c.fits")
    with pytest.raises(PictureError, match="no picture in this FITS file"):
        io.read_whole(tmp_path / "c.fits")


def test_how_a_result_was_made_is_told(tmp_path):
    text = '{"scale": 2, "kernel": "gaussian:1.6", "noise_level": 2.0, "model": "a name that is long", "source": "b"}'
    picture = io.Picture(COUNTS, io.Metadata(provenance=text))
    io.write(tmp_path / "a.fits", picture)
    assert io.read_provenance(tmp_path / "a.fits") == text


def test_bad_files(tmp_path):
    fits.PrimaryHDU(COUNTS).writeto(tmp_path / "a.fits")
    data = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "a.fits").write_bytes(data[:3000])
    with pytest.raises(PictureError, match=r"a\.fits"):
        io.read_whole(tmp_path / "a.fits")
    fits.PrimaryHDU(np.full((4, 4), np.nan)).writeto(tmp_path / "b.fits")
    with pytest.raises(PictureError, match="not finite"):
        io.read_whole(tmp_path / "b.fits")
    head = [f"SIMPLE  = {'T':>20}", f"BITPIX  = {8:20d}", f"NAXIS   = {2:20d}", f"NAXIS1  = {90000:20d}"]
    head += [f"NAXIS2  = {90000:20d}", "END"]
    (tmp_path / "c.fits").write_bytes("".join(card.ljust(80) for card in head).ljust(2880).encode())
    with pytest.raises(PictureError, match="more than the limit"):
        io.read_whole(tmp_path / "c.fits")


def test_without_astropy_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    fits.PrimaryHDU(COUNTS).writeto(tmp_path / "a.fits")
    monkeypatch.setitem(sys.modules, "astropy.io.fits", None)
    with pytest.raises(PictureError, match=r"usrnet\[science\]"):
        io.read_whole(tmp_path / "a.fits")


@pytest.mark.parametrize(
    ("card", "value"),
    [("NAXIS", "1099511627775"), ("NAXIS", "1E9"), ("NAXIS2", "-66"), ("PCOUNT", "-2880"), ("GCOUNT", "'x'")],
)
def test_numbers_that_no_header_may_hold_end_at_once(tmp_path, card, value):
    unit = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(COUNTS)])
    unit.writeto(tmp_path / "a.fits")
    data = (tmp_path / "a.fits").read_bytes()
    place = data.rindex(f"{card:8}=".encode())
    (tmp_path / "a.fits").write_bytes(data[: place + 10] + value.rjust(20).encode() + data[place + 30 :])
    with pytest.raises(PictureError, match=f"damaged .{card} *= {value}"):
        io.read_whole(tmp_path / "a.fits")


def test_tiles_without_pixels(tmp_path):
    unit = fits.CompImageHDU(COUNTS.astype(np.int16), compression_type="HCOMPRESS_1", tile_shape=(16, 16))
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(tmp_path / "a.fits")
    data = (tmp_path / "a.fits").read_bytes()
    place = data.index(b"ZTILE1  =")
    (tmp_path / "a.fits").write_bytes(data[: place + 10] + b"0".rjust(20) + data[place + 30 :])
    with pytest.raises(PictureError, match="tiles without pixels"):
        io.read_whole(tmp_path / "a.fits")


@pytest.mark.parametrize(("kind", "bend"), [
    ("HCOMPRESS_1", None),
    ("HCOMPRESS_1", lambda stream: stream[:2] + (4000).to_bytes(4, "big") + stream[6:]),  # more columns
    ("PLIO_1", None),
    ("PLIO_1", lambda stream: stream[:6] + (30000).to_bytes(2, "big") + stream[8:]),  # a longer list
    ("PLIO_1", lambda stream: stream[:2] + b"\x8f" + stream[3:]),  # one that begins before its first word
])  # fmt: skip
def test_tiles_must_have_the_size_that_the_header_says(tmp_path, kind, bend):
    values = (COUNTS % 200).astype(np.int16)
    unit = fits.CompImageHDU(values, compression_type=kind, tile_shape=(16, 16))
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(tmp_path / "a.fits")
    if bend is None:
        assert np.array_equal(io.read_whole(tmp_path / "a.fits").pixels[::-1], values)
        return
    data = (tmp_path / "a.fits").read_bytes()
    with fits.open(tmp_path / "a.fits", disable_image_compression=True) as units:
        column = units[1].data["COMPRESSED_DATA"][1]
    stream = column.astype(column.dtype.newbyteorder(">")).tobytes()
    place = data.index(stream)
    (tmp_path / "a.fits").write_bytes(data[:place] + bend(stream) + data[place + len(stream) :])
    with pytest.raises(PictureError, match="tile 2 is of another size"):
        io.read_whole(tmp_path / "a.fits")
