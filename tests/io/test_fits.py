"""FITS as astronomers write it."""

import re

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


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("letter", ["", "A"])
@pytest.mark.parametrize("matrix", ["CD", "PC", "PC without CDELT"])
def test_the_sky_stays_where_it_is(tmp_path, scale, letter, matrix):
    """The corners of the picture, in every version of its coordinates and with SIP's distortion."""
    wcs = pytest.importorskip("astropy.wcs")
    unit = fits.PrimaryHDU(COUNTS)
    header = unit.header
    for key in {"", letter}:
        for axis, kind, place, sky in ((1, "RA---TAN", 12.3, 83.6), (2, "DEC--TAN", 8.1, -5.4)):
            header[f"CTYPE{axis}{key}"] = kind if key else f"{kind}-SIP"
            header[f"CRPIX{axis}{key}"], header[f"CRVAL{axis}{key}"] = place, sky
            if matrix == "PC":
                header[f"CDELT{axis}{key}"] = 0.002
        step = 1 if matrix == "PC" else 0.002
        for i, j, value in ((1, 1, -0.9), (1, 2, 0.2), (2, 1, 0.3), (2, 2, 1.1)):
            header[f"{matrix[:2]}{i}_{j}{key}"] = step * value
    for letters, sign in (("", 1), ("P", -1)):
        header[f"A{letters}_ORDER"] = header[f"B{letters}_ORDER"] = 3
        header[f"A{letters}_2_0"], header[f"A{letters}_1_1"] = sign * 4e-3, sign * 1e-3
        header[f"B{letters}_0_2"], header[f"B{letters}_1_2"] = sign * 3e-3, sign * 2e-4
    header["A_DMAX"] = 1.5
    unit.writeto(tmp_path / "a.fits")
    picture = io.read_whole(tmp_path / "a.fits")
    large = io.result_of(picture, picture.pixels.repeat(scale, 0).repeat(scale, 1), scale)
    io.write(tmp_path / "b.fits", large)
    made = fits.getheader(tmp_path / "b.fits")
    before, after = (wcs.WCS(one, key=letter or " ") for one in (header, made))
    corners = np.array([[0.5, 0.5], [30.5, 0.5], [0.5, 20.5], [30.5, 20.5]])
    finer = (corners - 0.5) * scale + 0.5
    assert np.abs(after.all_pix2world(finer, 1) - before.all_pix2world(corners, 1)).max() < 1e-9
    if not letter:
        there = before.sip_foc2pix(corners - [12.3, 8.1], 1) - corners  # it takes places from the reference pixel
        assert np.abs(after.sip_foc2pix((corners - [12.3, 8.1]) * scale, 1) - finer - scale * there).max() < 1e-9
        assert np.abs(there).max() > 0.1
        assert made["A_DMAX"] == 1.5 * scale
    if matrix != "CD":
        assert made[f"PC2_1{letter}"] == header[f"PC2_1{letter}"]


def test_what_the_file_says_beside_an_extension_is_kept(tmp_path):
    primary, science = fits.PrimaryHDU(), fits.ImageHDU(COUNTS, name="SCI")
    primary.header["TELESCOP"], primary.header["EXPTIME"], primary.header["NEXTEND"] = "HST", 350.0, 3
    primary.header["CRPIX1"], primary.header["CDELT1"] = 1.0, 5.0  # the picture has its own
    primary.header["HISTORY"] = "flat divided"
    science.header["EXPTIME"], science.header["CRPIX1"], science.header["CD1_1"] = 340.0, 15.5, 0.1
    others = [fits.ImageHDU(COUNTS, name=name) for name in ("ERR", "DQ")]
    fits.HDUList([primary, science, *others]).writeto(tmp_path / "a.fits")
    with pytest.warns(UsrnetWarning, match=r"3 pictures \(SCI, ERR, DQ\), only the first is used"):
        picture = io.read_whole(tmp_path / "a.fits")
    io.write(tmp_path / "b.fits", picture)
    header = fits.getheader(tmp_path / "b.fits")
    assert (header["TELESCOP"], header["EXPTIME"], header["CRPIX1"]) == ("HST", 340.0, 15.5)
    assert "flat divided" in list(header["HISTORY"])
    assert not {"NEXTEND", "CDELT1"} & set(header)
    assert list(header).index("EXPTIME") < list(header).index("TELESCOP")


def test_a_card_that_cannot_be_read_costs_nothing(tmp_path):
    unit = fits.PrimaryHDU(COUNTS)
    unit.header["ODD"], unit.header["CDELT1"] = 1.5, 0.4
    unit.writeto(tmp_path / "a.fits")
    data = (tmp_path / "a.fits").read_bytes()
    place = data.index(b"ODD     =")
    (tmp_path / "a.fits").write_bytes(data[: place + 10] + b"1.5.x,".rjust(20) + data[place + 30 :])
    picture = io.read_whole(tmp_path / "a.fits")
    assert picture.metadata.enlarged(2, (40, 60)).fits_header["CDELT1"] == 0.2


def test_extensions_and_cubes(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.zeros(3))])
    cube = np.stack([COUNTS, COUNTS // 2, COUNTS // 3])
    fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(cube)]).writeto(tmp_path / "a.fits")
    with pytest.warns(UsrnetWarning, match="3 planes, only the first is used"):  # and no word of other pictures
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
    with pytest.raises(PictureError, match="nothing in it was measured"):
        io.read(tmp_path / "b.fits")
    head = [f"SIMPLE  = {'T':>20}", f"BITPIX  = {8:20d}", f"NAXIS   = {2:20d}", f"NAXIS1  = {90000:20d}"]
    head += [f"NAXIS2  = {90000:20d}", "END"]
    (tmp_path / "c.fits").write_bytes("".join(card.ljust(80) for card in head).ljust(2880).encode())
    with pytest.raises(PictureError, match="more than the limit"):
        io.read_whole(tmp_path / "c.fits")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32])
def test_whole_numbers_with_blank_stay_whole(tmp_path, dtype, packed):
    values = (COUNTS // 300).astype(dtype)
    unit = fits.CompImageHDU(values) if packed else fits.PrimaryHDU(values)
    unit.header["BLANK"] = 7 - int(unit.header.get("BZERO", 0))
    unit.writeto(tmp_path / "a.fits")
    picture = io.read_whole(tmp_path / "a.fits")
    assert picture.pixels.dtype == dtype
    assert np.array_equal(picture.pixels, values[::-1])
    assert picture.metadata.missing == 7
    io.write(tmp_path / "b.fits", picture)
    assert io.read_whole(tmp_path / "b.fits").metadata.missing == 7
    assert np.array_equal(fits.getdata(tmp_path / "b.fits")[values != 7], values[values != 7])


@pytest.mark.parametrize("zero", [40000, int(COUNTS[3, 4])])  # the latter with a BLANK of 0
def test_scaled_numbers_with_blank_are_floats_with_nan(tmp_path, zero):
    unit = fits.PrimaryHDU(COUNTS.astype(np.float32))
    unit.scale("int16", bscale=2.0, bzero=zero)
    unit.header["BLANK"] = int(unit.data[3, 4])
    gone = unit.data == unit.data[3, 4]
    unit.writeto(tmp_path / "a.fits")
    picture = io.read_whole(tmp_path / "a.fits")
    assert np.array_equal(np.isnan(picture.pixels[::-1]), gone)
    with pytest.warns(UsrnetWarning) as notes:
        assert np.isfinite(io.read(tmp_path / "a.fits").pixels).all()
    assert any(f"{gone.sum()} of its 600 values" in str(note.message) for note in notes)


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


@pytest.mark.parametrize("kind", ["HCOMPRESS_1", "RICE_1", "GZIP_1"])
def test_tiles_that_are_larger_than_what_holds_them(tmp_path, kind):
    """The decoders would read beyond their memory."""
    values = np.arange(256, dtype=np.int16).reshape(16, 16)
    fits.CompImageHDU(values, compression_type=kind, tile_shape=(16, 16)).writeto(tmp_path / "a.fits")
    assert io.read_whole(tmp_path / "a.fits").pixels.shape == (16, 16)
    data = (tmp_path / "a.fits").read_bytes()
    card = re.search(rb"PCOUNT  = +[0-9]+ ", data)
    assert card
    short = b"PCOUNT  = 8".ljust(len(card[0]))
    (tmp_path / "b.fits").write_bytes(data.replace(card[0], short, 1))
    with pytest.raises(PictureError, match="bytes of tiles where there are fewer"):
        io.read_whole(tmp_path / "b.fits")
