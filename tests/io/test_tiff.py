"""One reader, one set of rules: what a TIFF's tags say about its samples, by rows and as a whole."""

import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from usrnet import io
from usrnet.errors import PictureError, UsrnetWarning
from usrnet.io import Metadata, gaps, tiff
from usrnet.io.metadata import PixelSize, read_exif
from usrnet.io.tiff import reader


def pixels(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Smooth waves with some noise on them."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: shape[0], : shape[1]] / 9
    values = (2 + np.sin(y) + np.cos(x + y / 3)) / 4
    values = values.reshape(*values.shape, *[1] * (len(shape) - 2)) * rng.uniform(0.6, 1, shape)
    kind = np.dtype(dtype)
    return values.astype(kind) if kind.kind == "f" else (values * np.iinfo(kind).max).astype(kind)


KINDS = {
    "strips": {"compression": "zlib", "rowsperstrip": 7},
    "tiles": {"compression": "zlib", "tile": (16, 32)},
    "plain tiles": {"tile": (32, 16)},
    "one strip": {},
    "big-endian": {"byteorder": ">"},
    "big-endian tiles": {"byteorder": ">", "tile": (16, 16), "compression": "zlib"},
    "predictor": {"compression": "zlib", "predictor": True, "rowsperstrip": 5},
    "lzw": {"compression": "lzw", "rowsperstrip": 5},
    "lzw with predictor": {"compression": "lzw", "predictor": True, "tile": (16, 16)},
    "zstd": {"compression": "zstd", "rowsperstrip": 9},
    "bigtiff": {"bigtiff": True, "rowsperstrip": 11},
    "planar": {"planarconfig": "separate"},
    "planar tiles": {"planarconfig": "separate", "tile": (16, 16), "compression": "zlib", "byteorder": ">"},
}


def save(path, array, **options):
    order, big = options.pop("byteorder", None), options.pop("bigtiff", False)
    colour = array.ndim == 3 and array.shape[2] >= 3
    extra = ["unassalpha"] if array.ndim == 3 and array.shape[2] in (2, 4) else None
    options.setdefault("planarconfig", "contig" if array.ndim == 3 else None)
    if array.ndim == 2:
        options["planarconfig"] = None
    if options["planarconfig"] == "separate":
        array = np.ascontiguousarray(np.moveaxis(array, -1, 0))
    with tifffile.TiffWriter(path, byteorder=order, bigtiff=big) as writer:
        writer.write(
            array, photometric="rgb" if colour else "minisblack", extrasamples=extra, metadata=None, **options
        )
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_rows_of_every_kind(tmp_path, kind, channels, dtype):
    array = pixels((53, 45, *channels), dtype)
    with tiff.TiffFile(save(tmp_path / "a.tif", array, **KINDS[kind])) as file:
        rows = file.rows()
        assert (rows.shape, rows.dtype, rows.by_rows) == (array.shape, array.dtype, True)
        for start, stop in ((0, 53), (0, 1), (52, 53), (6, 8), (13, 40), (50, 99)):
            part = rows[start:stop]
            assert part.dtype == array.dtype
            np.testing.assert_array_equal(part, array[start:stop])


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint32", "uint64", "float16", "float64"])
def test_types_of_instruments_are_kept(tmp_path, dtype):
    array = pixels((20, 30), dtype)
    array[3, 4] = -array[3, 4] if np.dtype(dtype).kind != "u" else 0
    tifffile.imwrite(tmp_path / "a.tif", array)
    picture = io.read_whole(tmp_path / "a.tif")
    assert picture.pixels.dtype == array.dtype
    assert np.array_equal(picture.pixels, array)
    io.write(tmp_path / "b.tif", picture)
    assert np.array_equal(tifffile.imread(tmp_path / "b.tif"), array)


@pytest.mark.parametrize("bits", [2, 4, 10, 12, 14, 24])
def test_depths_between_fill_the_next_type(tmp_path, bits):
    values = (np.arange(40).reshape(5, 8) * (2**bits - 1) // 39).astype(np.uint32 if bits > 16 else np.uint16)
    values = values.astype(np.uint8) if bits < 8 else values
    if bits == 24:
        packed = values.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    else:
        ones = values[..., None].astype(np.uint32) >> np.arange(bits - 1, -1, -1, dtype=np.uint32) & 1
        packed = np.packbits(ones.astype(np.uint8).reshape(len(values), -1), axis=-1).tobytes()
    path = raw_tiff(tmp_path / "a.tif", 8, 5, bits, packed)
    if bits == 24:
        picture = io.read_whole(path)
        assert picture.levels == io.Levels(0, 2**24 - 1)
        assert np.array_equal(picture.pixels, values)
        return
    with pytest.warns(UsrnetWarning, match=f"{bits} bits per sample become"):
        picture = io.read_whole(path)
    full = 255 if bits < 8 else 65535
    assert picture.pixels.max() == full
    assert np.abs(picture.pixels - values * (full / (2**bits - 1))).max() <= 0.5


def raw_tiff(path: Path, width: int, height: int, bits: int, data: bytes, *tags: tuple[int, int, int, int]) -> Path:
    """A TIFF of one strip written by hand; ``tags``: number, type, count, value."""
    entries = {
        256: (3, 1, width), 257: (3, 1, height), 258: (3, 1, bits), 259: (3, 1, 1), 262: (3, 1, 1), 277: (3, 1, 1),
        278: (3, 1, height), 279: (4, 1, len(data)),
    }  # fmt: skip
    entries |= {number: (kind, count, value) for number, kind, count, value in tags}
    entries[273] = (4, 1, 8 + 2 + 12 * (len(entries) + 1) + 4)
    body = b"".join(struct.pack("<HHII", number, *entries[number]) for number in sorted(entries))
    path.write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4) + data)
    return path


def test_bilevel(tmp_path):
    bits = pixels((20, 30), "uint8") > 128
    tifffile.imwrite(tmp_path / "a.tif", bits, photometric="minisblack")
    assert np.array_equal(io.read_whole(tmp_path / "a.tif").pixels, bits * np.uint8(255))
    Image.fromarray(bits).save(tmp_path / "b.tif", compression="group4")
    assert np.array_equal(io.read_whole(tmp_path / "b.tif").pixels, bits * np.uint8(255))


# Orientation


@pytest.mark.parametrize("compression", ["raw", "tiff_adobe_deflate", "tiff_lzw", "packbits", "jpeg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_once(tmp_path, photo, orientation, compression):
    path = tmp_path / "a.tif"
    Image.fromarray(photo[:40, :60]).save(path, tiffinfo={274: orientation}, compression=compression)
    with Image.open(path) as image:
        turned = np.asarray(image)  # Pillow turns TIFFs itself
    assert turned.shape[:2] == ((60, 40) if orientation > 4 else (40, 60))
    assert np.abs(io.read_whole(path).pixels.astype(int) - turned).max() <= (3 if compression == "jpeg" else 0)


def test_a_turned_picture_of_16_bits_in_planes(tmp_path):
    array = pixels((20, 30, 3), "uint16")
    tifffile.imwrite(
        tmp_path / "a.tif", np.moveaxis(array, -1, 0), photometric="rgb", planarconfig="separate",
        extratags=[(274, "H", 1, 8, True)],
    )  # fmt: skip
    assert np.array_equal(io.read_whole(tmp_path / "a.tif").pixels, np.rot90(array))


# Colours


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_white_is_zero(tmp_path, dtype):
    array = pixels((20, 30), dtype)
    top = np.iinfo(dtype).max
    for compression, tile in ((None, None), ("lzw", None), (None, (16, 16))):
        tifffile.imwrite(
            tmp_path / "a.tif", top - array, photometric="miniswhite", compression=compression, tile=tile
        )
        assert np.array_equal(io.read_whole(tmp_path / "a.tif").pixels, array)
    tifffile.imwrite(tmp_path / "d.tif", array.astype(np.float32), photometric="miniswhite")
    with pytest.raises(PictureError, match="white is its lowest value"):
        io.read_whole(tmp_path / "d.tif")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_inks(tmp_path, dtype):
    scene = pixels((20, 30, 3), "float32") * 0.98
    black = 1 - scene.max(-1, keepdims=True)
    inks = np.dstack([(1 - scene - black) / (1 - black), black])
    top = np.iinfo(dtype).max
    tifffile.imwrite(tmp_path / "a.tif", (inks * top).round().astype(dtype), photometric="separated")
    with pytest.warns(UsrnetWarning, match="four inks without a profile"):
        picture = io.read_whole(tmp_path / "a.tif")
    assert picture.pixels.dtype == dtype
    assert np.abs(picture.pixels / top - scene).max() < 2.5 / 255
    spots = np.dstack([inks, inks[..., :1]])
    tifffile.imwrite(
        tmp_path / "b.tif", (spots * top).astype(dtype), photometric="separated", extratags=[(332, "H", 1, 2, True)]
    )
    with pytest.raises(PictureError, match="inks are not cyan"):
        io.read_whole(tmp_path / "b.tif")


@pytest.mark.parametrize("photometric", ["cielab", "icclab"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_lab(tmp_path, photo, photometric, dtype):
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    made = ImageCms.profileToProfile(Image.fromarray(photo[:40, :60]), srgb, lab, outputMode="LAB")
    codes = np.asarray(made).astype(np.int64)
    ab = codes[..., 1:] - 256 * (codes[..., 1:] > 127)
    unit = 1 if dtype == "u1" else 256
    lightness = codes[..., :1] * (257 if (dtype, photometric) == ("u2", "cielab") else unit)
    stored = np.concatenate([lightness, ab * unit + (128 * unit if photometric == "icclab" else 0)], axis=-1)
    tifffile.imwrite(tmp_path / "a.tif", (stored % (256 * unit)).astype(f"<{dtype}"), photometric=photometric)
    picture = io.read_whole(tmp_path / "a.tif")
    assert picture.pixels.dtype == np.dtype(dtype)
    assert np.abs(picture.pixels / np.iinfo(dtype).max - photo[:40, :60] / 255).mean() < 0.01


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_luminance_and_chrominance(tmp_path, photo, dtype):
    top = np.iinfo(dtype).max
    values = np.asarray(Image.fromarray(photo[:40, :60]).convert("YCbCr"))
    stored = values if dtype == "uint8" else values.astype(np.uint16) * 257
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(stored, photometric="ycbcr", subsampling=(1, 1), metadata=None)
    picture = io.read_whole(tmp_path / "a.tif")
    assert picture.pixels.dtype == dtype
    assert np.abs(picture.pixels / top - photo[:40, :60] / 255).max() < 0.02


def test_jpeg_inside(tmp_path, photo):
    tifffile.imwrite(tmp_path / "a.tif", photo[:64, :64], photometric="rgb", compression="jpeg", tile=(32, 32))
    assert np.abs(io.read_whole(tmp_path / "a.tif").pixels.astype(int) - photo[:64, :64]).mean() < 3


def test_palettes(tmp_path, photo):
    palette = Image.fromarray(photo[:40, :60]).quantize(16)
    palette.save(tmp_path / "a.tif")
    assert np.array_equal(io.read_whole(tmp_path / "a.tif").pixels, np.asarray(palette.convert("RGB")))


# Alpha and bands


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_only_what_is_said_to_be_alpha_is_alpha(tmp_path, dtype):
    array = pixels((20, 30, 4), dtype)
    for kind, extra in (("unspecified", 1), ("unassalpha", 0)):
        tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extrasamples=[kind])
        picture = io.read_whole(tmp_path / "a.tif")
        assert picture.extra == extra
        assert np.array_equal(picture.pixels, array)
        io.write(tmp_path / "b.tif", picture)
        with tifffile.TiffFile(tmp_path / "b.tif") as file:
            assert [int(kind) for kind in file.pages.first.extrasamples] == [0 if extra else 2]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_premultiplied_colours_are_undone(tmp_path, dtype):
    top = 1.0 if dtype == "float32" else np.iinfo(dtype).max
    colour, alpha = pixels((20, 30, 3), "float64"), pixels((20, 30, 1), "float64")
    alpha[:5] = 0
    stored = np.dstack([colour * alpha, alpha]) * top
    stored = stored.astype(dtype) if dtype == "float32" else stored.round().astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    picture = io.read_whole(tmp_path / "a.tif")
    assert np.abs(picture.pixels[5:, :, :3] / top - colour[5:]).max() < 0.02
    assert picture.pixels[:5].max() == 0


def test_alpha_behind_another_band_comes_first(tmp_path):
    array = pixels((20, 30, 5), "uint16")
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extrasamples=["unspecified", "unassalpha"])
    picture = io.read_whole(tmp_path / "a.tif")
    assert picture.extra == 1
    assert np.array_equal(picture.pixels, array[..., [0, 1, 2, 4, 3]])


def test_grey_bands(tmp_path):
    for dtype in ("uint8", "uint16"):
        array = pixels((20, 30, 3), dtype)
        tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", planarconfig="contig")
        picture = io.read_whole(tmp_path / "a.tif")
        assert picture.extra == 2
        assert np.array_equal(picture.pixels, array)
        with pytest.warns(UsrnetWarning, match="three bands, written as red, green and blue"):
            io.write(tmp_path / "b.png", picture)
        assert np.array_equal(io.read(tmp_path / "b.png").pixels, array)
    array = pixels((20, 30, 7), "uint16")
    tifffile.imwrite(tmp_path / "c.tif", array, photometric="minisblack", planarconfig="contig")
    picture = io.read_whole(tmp_path / "c.tif")
    assert picture.extra == 6
    with pytest.warns(UsrnetWarning, match="6 of them are left out"):
        io.write(tmp_path / "c.png", picture)


# Pages


def test_a_raw_file_is_refused(tmp_path):
    thumb, sensor = pixels((16, 24, 3), "uint8"), pixels((48, 72), "uint16")
    for name in ("a.dng", "a.nef", "a.tif"):
        with tifffile.TiffWriter(tmp_path / name) as writer:
            writer.write(thumb, photometric="rgb", subifds=1, subfiletype=1)
            writer.write(sensor, photometric="minisblack", subfiletype=0)
        with pytest.raises(PictureError, match="develop it first"):
            io.read_whole(tmp_path / name)
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        writer.write(
            sensor, photometric=32803, extratags=[(33421, "H", 2, (2, 2), True), (33422, "B", 4, b"\0\1\1\2", True)]
        )
    with pytest.raises(PictureError, match="develop it first"):
        io.read_whole(tmp_path / "b.tif")
    for start in (b"FUJIFILMCCD-RAW ", b"\0\0\0\x18ftypcrx ", b"IIU\0\x18\0\0\0", b"II*\0\x10\0\0\0CR\x02\0"):
        (tmp_path / "c.raw").write_bytes(start + bytes(100))
        with pytest.raises(PictureError, match="develop it first"):
            io.read_whole(tmp_path / "c.raw")


def test_a_reduced_first_page_is_not_the_picture(tmp_path):
    array = pixels((48, 72, 3), "uint8")
    with tifffile.TiffWriter(tmp_path / "sub.tif") as writer:
        writer.write(np.ascontiguousarray(array[::3, ::3]), photometric="rgb", subifds=1, subfiletype=1)
        writer.write(array, photometric="rgb", subfiletype=0)
    with tifffile.TiffWriter(tmp_path / "next.tif") as writer:
        writer.write(np.ascontiguousarray(array[::3, ::3]), photometric="rgb", subfiletype=1, metadata=None)
        writer.write(array, photometric="rgb", subfiletype=0, metadata=None)
    for name in ("sub.tif", "next.tif"):
        with pytest.warns(UsrnetWarning, match=r"reduced picture \(24×16\), the one of 72×48 is used"):
            assert np.array_equal(io.read_whole(tmp_path / name).pixels, array)
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as writer:  # overviews behind the picture say nothing
        writer.write(array, photometric="rgb", metadata=None)
        writer.write(np.ascontiguousarray(array[::2, ::2]), photometric="rgb", subfiletype=1, metadata=None)
    assert np.array_equal(io.read_whole(tmp_path / "pyramid.tif").pixels, array)


@pytest.mark.parametrize("options", [{"imagej": True}, {"truncate": True}, {}, {"ome": True}])
def test_of_a_stack_the_first_page_is_read_with_a_note(tmp_path, options):
    stack = np.stack([pixels((20, 30), "uint16") // (n + 1) for n in range(5)])
    name = "a.ome.tif" if options.pop("ome", False) else "a.tif"
    tifffile.imwrite(tmp_path / name, stack, photometric="minisblack", **options)
    with pytest.warns(UsrnetWarning, match="5 pages, only the first is used"):
        assert np.array_equal(io.read_whole(tmp_path / name).pixels, stack[0])


# Damage


def test_what_a_header_claims_costs_nothing(tmp_path):
    import tracemalloc

    for width, height, bits in ((60_000, 2_000, 8), (12_000, 12_000, 16)):
        path = raw_tiff(tmp_path / "a.tif", width, height, bits, b"few")
        tracemalloc.start()
        with pytest.raises(PictureError, match="damaged"):
            io.read_whole(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
        tracemalloc.stop()


def test_more_samples_than_a_pixel_can_have(tmp_path):
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((8, 9), np.uint8))
    with tifffile.TiffFile(tmp_path / "b.tif", mode="r+") as file:
        page: Any = file.pages[0]
        page.tags[277].overwrite(2**30, dtype=tifffile.DATATYPE.LONG)
    with pytest.raises(PictureError, match=r"damaged \(1073741824 samples per pixel\)"):
        io.read_whole(tmp_path / "b.tif")


def test_damaged_strips(tmp_path):
    save(tmp_path / "b.tif", pixels((300, 300), "uint16"), compression="zlib", rowsperstrip=10)
    whole = (tmp_path / "b.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(whole[:20_000] + bytes(1000) + whole[21_000:])
    with pytest.raises(PictureError, match=r"b\.tif: the picture is damaged"):
        io.read_whole(tmp_path / "b.tif")


def test_complex_numbers_are_named(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), np.complex64))
    with pytest.raises(PictureError, match="complex numbers are not supported"):
        io.read_whole(tmp_path / "a.tif")


# Writing


@pytest.mark.parametrize("shape", [(600, 300), (256, 512, 3), (1, 257, 4), (300, 40, 2)])
def test_strips_of_any_height_are_written(tmp_path, shape):
    array = pixels(shape, "uint16")
    cuts = [0, *sorted({shape[0] // 7, shape[0] // 2, shape[0]} - {0})]
    strips = (array[a:b] for a, b in pairwise(cuts))
    metadata = Metadata(description="a note of mine", provenance="made so", dpi=(300, 150))
    tiff.write(tmp_path / "a.tif", strips, shape=shape, dtype=array.dtype, metadata=metadata)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif"), array)
    read = io.read_whole(tmp_path / "a.tif")
    np.testing.assert_array_equal(read.pixels, array)
    assert read.metadata.description == "a note of mine"
    assert read.metadata.dpi == (300, 150)
    assert io.read_provenance(tmp_path / "a.tif") == "made so"


@pytest.mark.parametrize("big", [False, True])
def test_exif_and_place_of_a_tiff(tmp_path, monkeypatch, big):
    exif = Image.Exif()
    exif[0x010F], exif[0x0132] = "Maker", "2024:07:01 10:00:00"
    exif[0x8769] = {0x829A: 0.01, 0xA001: 65535, 0xA005: {1: "R03"}}
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}
    metadata = Metadata(exif=exif.tobytes()[6:], xmp=b"<x:xmpmeta/>", geo={33550: (2.0, 2.0, 0.0)})
    array = pixels((20, 30, 3), "uint16")
    page = tiff.Page([array], array.shape, array.dtype, 0, metadata)
    tiff.write_pages(tmp_path / "a.tif", [page], size=2**32 if big else 100)
    read = io.read_whole(tmp_path / "a.tif")
    assert np.array_equal(read.pixels, array)
    assert read.metadata.xmp == b"<x:xmpmeta/>"
    assert read.metadata.geo == {33550: (2.0, 2.0, 0.0)}
    if not big:
        back = read_exif(read.metadata.exif)
        assert back[0x0132] == "2024:07:01 10:00:00"
        assert back.get_ifd(0x8769)[0x829A] == 0.01
        assert back.get_ifd(0x8825)[2] == (48.0, 8.0, 0.0)
        assert back.get_ifd(0xA005)[1].strip("\0") == "R03"


@pytest.mark.parametrize("unit", ["um", "µm", "nm", "cm", "mm"])
def test_pixel_size(tmp_path, unit):
    array = pixels((20, 30), "uint16")
    metadata = Metadata(pixel_size=PixelSize(0.2, 0.1, unit))
    tiff.write(tmp_path / "a.tif", [array], shape=array.shape, dtype=array.dtype, metadata=metadata)
    size = io.read_whole(tmp_path / "a.tif").metadata.pixel_size
    assert size is not None
    assert (round(size.height, 9), round(size.width, 9), size.unit) == (0.2, 0.1, unit.replace("µ", "µ"))


def bend_tag(path: Path, tag: int, value: int) -> None:
    """Change the value of a tag where it stands in the file."""
    with tifffile.TiffFile(path) as file:
        found = file.pages[0].tags[tag]  # pyright: ignore[reportAttributeAccessIssue]
        place, kind, order = found.valueoffset, {3: "H", 4: "I"}[int(found.dtype)], file.byteorder
    data = bytearray(path.read_bytes())
    struct.pack_into(order + kind, data, place, value)
    path.write_bytes(data)


@pytest.mark.parametrize("tag", [322, 323])
@pytest.mark.parametrize("compression", ["deflate", "lzw"])
def test_tiles_far_larger_than_the_picture_are_refused(tmp_path, tag, compression):
    values = np.zeros((40, 33, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", tile=(1024, 1024), compression=compression)
    assert np.array_equal(io.read_whole(tmp_path / "a.tif").pixels, values)
    bend_tag(tmp_path / "a.tif", tag, 65520)
    with pytest.raises(PictureError, match="tiles of"):
        io.read_whole(tmp_path / "a.tif")


@pytest.mark.parametrize("count", [0, 2, 5])
def test_a_number_of_samples_that_the_layout_denies(tmp_path, count):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((40, 33), np.uint8), photometric="minisblack")
    bend_tag(tmp_path / "a.tif", 277, count)
    with pytest.raises(PictureError, match="damaged"):
        io.read_whole(tmp_path / "a.tif")


@pytest.mark.parametrize(("shape", "options", "written", "axes"), [
    ((20, 30), {}, (40, 60), "YX"),
    ((20, 30, 1), {}, (40, 60), "YX"),
    ((20, 30, 5), {"planarconfig": "contig"}, (40, 60, 5), "YXS"),
    ((3, 20, 30), {"photometric": "rgb", "planarconfig": "separate"}, (40, 60, 3), "YXS"),
    ((5, 20, 30), {"planarconfig": "separate"}, (40, 60, 5), "YXS"),
    ((4, 20, 30), {"metadata": {"axes": "ZYX"}}, (4, 40, 60), "ZYX"),
    ((4, 20, 30), {"metadata": {"axes": "ZYX"}, "truncate": True}, (4, 40, 60), "ZYX"),
    ((4, 20, 30, 1), {"metadata": {"axes": "TYXC"}}, (4, 40, 60), "TYX"),
    ((2, 3, 20, 30), {"photometric": "rgb", "planarconfig": "separate"}, (2, 40, 60, 3), "QYXS"),
    ((2, 20, 30, 3), {"photometric": "rgb", "metadata": {"axes": "TYXC"}}, (2, 40, 60, 3), "TYXC"),
    ((20, 30), {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}, (40, 60, 3), "YXS"),
])  # fmt: skip
def test_tifffile_reads_a_result_in_the_shape_of_its_pages(tmp_path, shape, options, written, axes):
    """And not as what it falls back to, with a warning, where its description is wrong."""
    tifffile.imwrite(tmp_path / "a.tif", pixels(shape, "uint8"), **{"photometric": "minisblack", **options})
    with tiff.TiffFile(tmp_path / "a.tif") as file:
        made = []
        for index in range(len(file)):
            rows = file.rows(index)
            large = rows[:].repeat(2, 0).repeat(2, 1)
            samples = large.shape[2] if large.ndim == 3 else 1
            text = tiff.description_of_result(
                rows.metadata().description, 2, (40, 60), pages=len(file), all_pages=True, samples=samples
            )
            metadata = io.Metadata(description=None if index else text)
            made.append(tiff.Page([large], large.shape, large.dtype, rows.extra, metadata))
    tiff.write_pages(tmp_path / "b.tif", made, size=0)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert [(series.kind, series.shape, series.axes) for series in file.series] == [("shaped", written, axes)]


def test_a_description_of_some_pages_only_is_left_out():
    text = '{"shape": [20, 30]}'
    assert tiff.description_of_result(text, 2, (40, 60), pages=1, all_pages=False) == '{"shape": [40, 60]}'
    assert tiff.description_of_result(text, 2, (40, 60), pages=2, all_pages=True) is None


@pytest.mark.parametrize("big", [False, True])
def test_a_depth_that_is_a_text(tmp_path, big):
    """tifffile would multiply the text with the number of strips, into gigabytes."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, np.zeros((8, 9), np.uint8), bigtiff=big, byteorder="<", extratags=[(65000, "I", 1, 1, True)]
    )
    data = path.read_bytes()
    for kind in (4, 2):
        path.write_bytes(data.replace(struct.pack("<HH", 65000, 4), struct.pack("<HH", 32997, kind)))
        if kind == 4:
            assert io.read_whole(path).pixels.shape == (8, 9)
        else:
            with pytest.raises(PictureError, match="its depth is no number"):
                io.read_whole(path)


def test_what_every_page_would_say_is_said_once(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for _ in range(3):
            writer.write(np.zeros((8, 9), np.uint8), metadata=None, iccprofile=b"no profile" * 40)
    with tiff.TiffFile(tmp_path / "a.tif") as file:
        with pytest.warns(UsrnetWarning, match="colour profile is broken"):
            file.rows(0).metadata()
        file.rows(1).metadata()


def test_the_names_of_a_document_and_its_page_are_kept(tmp_path):
    tags = [(269, "s", 0, b"plate 7", True), (285, "s", 0, b"verso", True)]
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 9), np.uint8), photometric="minisblack", extratags=tags)
    io.write(tmp_path / "b.tif", io.read_whole(tmp_path / "a.tif"))
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert [file.pages.first.tags.valueof(tag) for tag in (269, 285)] == ["plate 7", "verso"]


def test_a_mask_on_a_page_of_its_own_is_named(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.zeros((8, 9), np.uint8), metadata=None)
        writer.write(np.zeros((8, 9), bool), metadata=None, subfiletype=4)
    with pytest.warns(UsrnetWarning, match="its transparency mask, a page of its own, is left out"):
        assert io.read_whole(tmp_path / "a.tif").pixels.shape == (8, 9)


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_primaries_without_a_profile_are_kept(tmp_path, suffix):
    points = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
    parts = [part for value in points for part in (round(value * 10_000), 10_000)]
    tags = [(318, "2I", 2, tuple(parts[:4]), True), (319, "2I", 6, tuple(parts[4:]), True)]
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((8, 9, 3), np.uint8), metadata=None, photometric="rgb", extratags=tags
    )
    picture = io.read_whole(tmp_path / "a.tif")
    io.write(tmp_path / f"b{suffix}", picture)
    assert io.read_whole(tmp_path / f"b{suffix}").metadata.chromaticities == pytest.approx(points)
    with pytest.warns(UsrnetWarning, match="JPEG does not hold: gamma and primaries"):
        io.write(tmp_path / "b.jpg", picture)


@pytest.mark.parametrize("compression", ["lerc", "jpeg", "jpeg2000", "png", "webp", "jpegxl"])
def test_tiles_that_say_they_are_huge_are_refused_before_they_are_decoded(
    compression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tile may be a file of its own, and its decoder takes the memory that this file asks for."""
    small, large = (np.zeros((side, side, 3), np.uint8) for side in (16, 512))
    tifffile.imwrite(tmp_path / "a.tif", small, photometric="rgb", compression=compression, tile=(16, 16))
    tifffile.imwrite(tmp_path / "b.tif", large, photometric="rgb", compression=compression, tile=(512, 512))
    assert io.read(tmp_path / "a.tif").pixels.shape == small.shape
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        page = file.pages.first
        file.filehandle.seek(page.dataoffsets[0])
        tile = file.filehandle.read(page.databytecounts[0])
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.filehandle.seek(0, 2)
        at = file.filehandle.tell()
        file.filehandle.write(tile)
        file.pages.first.tags["TileOffsets"].overwrite(at)
        file.pages.first.tags["TileByteCounts"].overwrite(len(tile))

    def decode(*arguments: object, **options: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(tifffile.TiffPage, "decode", decode)
    with pytest.raises(PictureError, match=r"damaged \(a piece of 512×512 pixels\)"):
        io.read(tmp_path / "a.tif")


@pytest.mark.parametrize("size", [(96, 64), (100, 63), (640, 480), (20000, 3), (1200, 1000), (1, 1), (256, 256)])
@pytest.mark.parametrize("boxed", [False, True])
def test_the_size_of_a_jpeg_xl_is_read_from_its_header(size: tuple[int, int], *, boxed: bool) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    width, height = size
    data = imagecodecs.jpegxl_encode(np.zeros((height, width), np.uint8), usecontainer=boxed)
    assert reader._own_size(data, 50002) == size


@pytest.mark.parametrize(("dtype", "text"), [("uint64", "18446744073709551615"), ("int64", "-9223372036854775807")])
def test_a_missing_value_of_64_bits_is_taken_to_its_last_digit(dtype: str, text: str, tmp_path: Path) -> None:
    stored = np.arange(2**40, 2**40 + 30, dtype=dtype).reshape(5, 6)
    stored[2, 3] = int(text)
    stored[3, 3] = int(text) + (1 if dtype == "int64" else -1)  # measured: its neighbour, and the same as a float
    tifffile.imwrite(tmp_path / "a.tif", stored, metadata=None, extratags=[(42113, "s", 0, text, True)])
    picture = io.read_whole(tmp_path / "a.tif")
    assert picture.metadata.missing == int(text)
    assert np.argwhere(gaps.absent(picture.pixels, picture.metadata.missing)).tolist() == [[2, 3]]
    io.write(tmp_path / "b.tif", picture)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages.first.tags.valueof(42113).strip("\0") == text
        np.testing.assert_array_equal(file.asarray(), stored)


def test_colours_of_no_light_are_not_taken_for_primaries(tmp_path: Path) -> None:
    """They could be written nowhere, and a picture that can be read must be."""
    points = {318: (4000000000, 1, 1, 1), 319: (1, 2) * 6}
    tags = [(tag, "2I", len(values) // 2, values, True) for tag, values in points.items()]
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5), np.uint8), extratags=tags)
    picture = io.read_whole(tmp_path / "a.tif")
    assert picture.metadata.chromaticities is None
    for name in ("b.png", "b.tif"):
        io.write(tmp_path / name, picture)
