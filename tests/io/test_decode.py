import errno
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from usrnet import io as pictures
from usrnet.errors import PictureError, UsrnetError, UsrnetWarning
from usrnet.io import Metadata, Picture, encode, read, write

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SHAPES = {"grey": (7, 9), "grey and alpha": (7, 9, 2), "colour": (7, 9, 3), "colour and alpha": (7, 9, 4)}


def random(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    values = np.random.default_rng(0).random(shape)
    return values.astype(dtype) if dtype is np.float32 else (values * np.iinfo(dtype).max).astype(dtype)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    width: int, height: int, kind: int, rows: bytes, *, depth: int = 16, interlace: int = 0, extra: bytes = b""
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlace)
    parts = [chunk(b"IHDR", header), extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# What goes in comes out


@pytest.mark.parametrize("layout", SHAPES)
@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [(".png", np.uint8), (".png", np.uint16), (".tif", np.uint8), (".tif", np.uint16), (".tiff", np.float32)],
)
def test_lossless_formats_keep_every_pixel(tmp_path, layout, suffix, dtype):
    pixels = random(SHAPES[layout], dtype)
    path = tmp_path / f"p{suffix}"
    write(path, Picture(pixels, Metadata(icc_profile=SRGB)))
    back = read(path)
    assert back.pixels.dtype == dtype
    assert np.array_equal(back.pixels, pixels)
    assert back.icc_profile == SRGB
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("layout", ["grey", "colour"])
def test_bmp(tmp_path, layout):
    write(tmp_path / "p.bmp", Picture(random(SHAPES[layout], np.uint8)))
    assert np.array_equal(read(tmp_path / "p.bmp").pixels, random(SHAPES[layout], np.uint8))


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_are_close(tmp_path, photo, suffix):
    write(tmp_path / f"p{suffix}", Picture(photo, Metadata(icc_profile=SRGB)))
    back = read(tmp_path / f"p{suffix}")
    assert np.abs(back.pixels.astype(int) - photo).mean() < 3
    assert back.icc_profile == SRGB


@pytest.mark.parametrize("layout", SHAPES)
def test_sixteen_bit_png_is_a_valid_one(tmp_path, layout):
    """Another decoder reads the same."""
    import imagecodecs

    pixels = random(SHAPES[layout], np.uint16)
    write(tmp_path / "p.png", Picture(pixels))
    assert np.array_equal(imagecodecs.png_decode((tmp_path / "p.png").read_bytes()), pixels)


def test_interlaced_sixteen_bit_png(tmp_path):
    pixels = random((5, 6, 3), np.uint16)
    rows = b""
    adam7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    for top, left, down, right in adam7:
        for row in pixels[top::down, left::right]:
            rows += b"\0" + row.astype(">u2").tobytes() if row.size else b""
    (tmp_path / "p.png").write_bytes(png(6, 5, 2, rows, interlace=1))
    assert np.array_equal(read(tmp_path / "p.png").pixels, pixels)


def test_sixteen_bit_png_with_a_transparent_colour(tmp_path):
    pixels = random((5, 6, 3), np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    (tmp_path / "p.png").write_bytes(png(6, 5, 2, rows, extra=chunk(b"tRNS", b"\0\1\0\2\0\3")))
    assert np.array_equal(read(tmp_path / "p.png").pixels[..., :3], pixels)


@pytest.mark.parametrize("by_pillow", [False, True])
def test_sixteen_bit_grey_png_with_a_transparent_value(tmp_path, by_pillow):
    pixels = random((5, 6), np.uint16)
    pixels[1, 2] = pixels[3, 4] = 258
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    (tmp_path / "p.png").write_bytes(png(6, 5, 0, rows, extra=chunk(b"tRNS", b"\1\2")))
    if by_pillow:
        with Image.open(tmp_path / "p.png") as image:
            found = pictures.from_any(image).pixels
    else:
        found = read(tmp_path / "p.png").pixels
    assert np.array_equal(found[..., 0], pixels)
    assert np.array_equal(found[..., 1], np.where(pixels == 258, 0, 65535))


@pytest.mark.parametrize("wrong", ["sum", "content"])
@pytest.mark.parametrize("name", ["gAMA", "iCCP", "pHYs", "cHRM", "tRNS", "acTL", "zzZz"])
@pytest.mark.parametrize(("kind", "depth"), [(0, 8), (2, 8), (0, 16), (2, 16)])
def test_a_png_is_read_without_what_is_damaged_beside_its_pixels(tmp_path, wrong, name, kind, depth):
    pixels = random((5, 6) if kind == 0 else (5, 6, 3), np.uint8 if depth == 8 else np.uint16)
    rows = b"".join(b"\0" + row.astype(f">u{depth // 8}").tobytes() for row in pixels)
    broken = chunk(name.encode(), b"\1")
    if wrong == "sum":
        broken = broken[:-1] + bytes([broken[-1] ^ 1])
    beside = chunk(b"tEXt", b"Description\0kept") + broken
    (tmp_path / "p.png").write_bytes(png(6, 5, kind, rows, depth=depth, extra=beside))
    if wrong == "content" and name == "zzZz":  # a part that nobody knows is nothing to note
        assert np.array_equal(read(tmp_path / "p.png").pixels, pixels)
        return
    with pytest.warns(UsrnetWarning, match="beside the pixels is damaged and left out") as notes:
        found = read(tmp_path / "p.png")
    assert np.array_equal(found.pixels, pixels)
    if wrong == "sum":
        assert name in str(notes[0].message)
        assert found.metadata.description == "kept"


def test_alpha_of_floats_is_held_to_its_range():
    pixels = np.zeros((2, 2, 4))
    pixels[0, :, 3] = 1e300, -1e300
    alpha = pictures.split(pixels).alpha
    assert alpha is not None
    assert alpha.tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize(
    "options", [{"compression": "zlib", "predictor": True}, {"compression": "lzw"}, {"tile": (16, 16)}]
)
def test_tiff_variants(tmp_path, options):
    pixels = random((20, 30, 3), np.uint16)
    tifffile.imwrite(tmp_path / "p.tif", pixels, photometric="rgb", **options)
    assert np.array_equal(read(tmp_path / "p.tif").pixels, pixels)


def test_planar_tiff(tmp_path):
    pixels = random((20, 30, 3), np.uint16)
    tifffile.imwrite(tmp_path / "p.tif", np.moveaxis(pixels, -1, 0), photometric="rgb", planarconfig="separate")
    assert np.array_equal(read(tmp_path / "p.tif").pixels, pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_not_kept(tmp_path, photo, orientation):
    source = Image.fromarray(photo[:40, :60])
    exif = Image.Exif()
    exif[0x0112] = orientation
    source.save(tmp_path / "p.png", exif=exif)
    with Image.open(tmp_path / "p.png") as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    back = read(tmp_path / "p.png")
    assert np.array_equal(back.pixels, expected)
    write(tmp_path / "q.png", back)
    with Image.open(tmp_path / "q.png") as written:
        assert written.getexif().get(0x0112, 1) == 1
    deep = photo[:40, :60].astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "p.tif", deep, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    assert np.array_equal(read(tmp_path / "p.tif").pixels // 257, expected)


# Other modes


def test_palettes_and_bits(tmp_path, photo):
    colour = Image.fromarray(photo[:40, :60])
    palette = colour.quantize(16)
    palette.save(tmp_path / "p.png")
    assert np.array_equal(read(tmp_path / "p.png").pixels, np.asarray(palette.convert("RGB")))
    palette.save(tmp_path / "t.png", transparency=3)
    assert read(tmp_path / "t.png").pixels.shape == (40, 60, 4)
    colour.convert("1").save(tmp_path / "b.png")
    bits = read(tmp_path / "b.png").pixels
    assert bits.shape == (40, 60)
    assert set(np.unique(bits)) == {0, 255}


@pytest.mark.filterwarnings("ignore:.*four inks without a profile")
def test_inks_become_rgb(tmp_path, photo):
    colour = Image.fromarray(photo[:40, :60])
    for name, mode in (("c.jpg", "CMYK"), ("y.jpg", "YCbCr"), ("l.tif", "LAB"), ("c.tif", "CMYK")):
        if mode == "LAB":
            lab = ImageCms.profileToProfile(
                colour, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
            )
            assert lab is not None
            lab.save(tmp_path / name)
        else:
            colour.convert(mode).save(tmp_path / name, quality=95)
        pixels = read(tmp_path / name).pixels
        assert pixels.shape == (40, 60, 3)
        assert np.abs(pixels.astype(int) - photo[:40, :60]).mean() < 6, name


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16", "P", "1", "CMYK"])
def test_pil_images(mode):
    image = (
        Image.fromarray(random((7, 9), np.uint16))
        if mode == "I;16"
        else Image.new("RGB", (9, 7), "teal").convert(mode)
    )
    source = pictures.from_any(image)
    answer = pictures.to_any(source.pixels, given=source)
    assert isinstance(answer, Image.Image)
    assert answer.size == (9, 7)
    assert answer.mode == {"P": "RGB", "1": "L", "CMYK": "RGB"}.get(mode, mode)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ("a.png", "PIL image or a NumPy array"), (np.zeros((2, 2, 5)), "not \\(2, 2, 5\\)"),
        (np.zeros((0, 3)), "not \\(0, 3\\)"), (np.zeros((2, 2), complex), "not complex128"),
        (np.full((2, 2), np.nan), "not finite"),
    ],
)  # fmt: skip
def test_what_is_no_picture(bad, text):
    with pytest.raises(UsrnetError, match=text):
        pictures.from_any(bad)


# Bad files


def damaged_files(folder: Path) -> dict[str, Path]:
    noise = Image.fromarray(random((64, 64, 3), np.uint8))
    files = {}
    for name in ("truncated.jpg", "truncated.png", "truncated.tif", "truncated.webp", "truncated.bmp"):
        noise.save(folder / name)
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])
        files[name] = folder / name
    tifffile.imwrite(folder / "truncated16.tif", random((64, 64), np.uint16))
    data = (folder / "truncated16.tif").read_bytes()
    (folder / "truncated16.tif").write_bytes(data[:3000])
    deep = encode._encode(Picture(random((64, 64, 3), np.uint16)), "PNG", "p")
    (folder / "truncated16.png").write_bytes(deep[:5000])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("This is not a picture.")
    (folder / "header.tif").write_bytes(b"II*\0")
    (folder / "folder.png").mkdir()
    for value, name in ((np.nan, "nan.tif"), (np.inf, "inf.tif")):
        tifffile.imwrite(folder / name, np.full((8, 8), value, np.float32))
    tifffile.imwrite(folder / "complex.tif", np.zeros((8, 8), np.complex64))
    names = (
        "truncated16.tif", "truncated16.png", "empty.png", "text.png", "header.tif", "folder.png", "nan.tif",
        "inf.tif", "complex.tif", "missing.png",
    )  # fmt: skip
    return files | {name: folder / name for name in names}


@pytest.mark.filterwarnings("ignore::usrnet.errors.UsrnetWarning")
def test_bad_files_get_one_sentence(tmp_path):
    for name, path in damaged_files(tmp_path).items():
        with pytest.raises(PictureError) as error:
            read(path)
        text = str(error.value)
        assert name in text, name
        assert "\n" not in text, name
        assert len(text) < 300 + len(str(path)), name


def test_bombs_are_refused_before_they_are_decoded(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(100_000, 100_000, 2, b"", depth=8))
    with pytest.raises(PictureError, match=r"100000×100000 pixels .* --max-pixels"):
        read(tmp_path / "bomb.png")
    write(tmp_path / "p.png", Picture(random((20, 20), np.uint8)))
    with pytest.raises(PictureError, match="limit of 399"):
        read(tmp_path / "p.png", max_pixels=399)
    assert read(tmp_path / "p.png", max_pixels=400).pixels.shape == (20, 20)
    tifffile.imwrite(tmp_path / "p.tif", random((20, 20), np.uint16))
    with pytest.raises(PictureError, match="limit of 399"):
        read(tmp_path / "p.tif", max_pixels=399)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\xff\x0a", "JPEG XL is not read: convert it to PNG or TIFF first"),
        (b"v/1\x01\x02", "OpenEXR is not read: save it as a TIFF with floats"),
        (bytes(128) + b"DICM", "DICOM is not read: export it as TIFF"),
        (b"\0\0\0\x18ftypisom", "a video is not read: save its frames"),
        (b"\0\0\0\x18ftypcrx ", "a.png is a camera's raw file: develop it first"),
        (b"<!DOCTYPE html><title>Not found", "a page of the web is no picture"),
        (b"<svg xmlns=", "SVG is not read: render it"),
        (b"nothing that is known", "not a picture in a format that can be read"),
    ],
)
def test_other_kinds_are_called_by_their_names(tmp_path, data, sentence):
    (tmp_path / "a.png").write_bytes(data + bytes(300))
    with pytest.raises(PictureError, match=sentence):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
def test_of_many_frames_the_first_is_read_with_a_note(tmp_path, suffix):
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "blue", "green")]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], duration=100, lossless=True)
    with pytest.warns(UsrnetWarning, match="3 (frames|pages), only the first"):
        pixels = read(tmp_path / f"a{suffix}").pixels
    assert pixels[3, 3, :3].tolist() == [255, 0, 0]


def test_streams():
    buffer = io.BytesIO()
    write(buffer, Picture(random((5, 6, 3), np.uint8)))
    buffer.seek(0)
    assert np.array_equal(read(buffer).pixels, random((5, 6, 3), np.uint8))
    with pytest.raises(PictureError, match="standard input: the file is empty"):
        read(io.BytesIO())


# Writing


def test_failures_leave_no_file_and_keep_the_old_one(tmp_path, monkeypatch):
    picture = Picture(random((5, 6, 3), np.uint8))
    write(tmp_path / "p.png", picture)
    before = (tmp_path / "p.png").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PictureError, match=r"p\.png: cannot be written \(No space left"):
        write(tmp_path / "p.png", Picture(random((9, 9), np.uint8)))
    monkeypatch.undo()
    with pytest.raises(PictureError, match=r"cannot be written"):
        write(tmp_path / "gone" / "p.png", picture)
    with pytest.raises(PictureError, match=r"cannot write \.xyz"):
        write(tmp_path / "p.xyz", picture)
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]
    assert (tmp_path / "p.png").read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PictureError, match="Permission denied"):
        write(tmp_path / "p.png", Picture(random((5, 6), np.uint8)))


def test_files_are_as_public_as_the_user_wants(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "p.png", Picture(random((5, 6), np.uint8)))
    finally:
        os.umask(before)
    assert (tmp_path / "p.png").stat().st_mode & 0o777 == 0o640


def test_what_a_format_cannot_hold_is_reduced_with_a_note(tmp_path):
    see_through = np.zeros((8, 8, 4), np.uint8)
    for suffix in (".jpg", ".bmp"):
        with pytest.warns(UsrnetWarning, match="no transparency, put on white"):
            write(tmp_path / f"a{suffix}", Picture(see_through))
        assert read(tmp_path / f"a{suffix}").pixels.min() == 255
    with pytest.warns(UsrnetWarning, match="holds 8 bits"):
        write(tmp_path / "d.jpg", Picture(np.full((8, 8, 3), 65535, np.uint16)))
    assert read(tmp_path / "d.jpg").pixels.min() == 255
    with pytest.warns(UsrnetWarning, match="no floats, written with 16 bits"):
        write(tmp_path / "f.png", Picture(np.full((8, 8), 0.5, np.float32)))
    assert abs(int(read(tmp_path / "f.png").pixels[0, 0]) - 32768) <= 1


# Planes


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(sorted(SHAPES)), st.sampled_from([np.uint8, np.uint16, np.float32]))
def test_join_undoes_split(layout, dtype):
    pixels = random(SHAPES[layout], dtype)
    planes = pictures.split(pixels)
    assert np.array_equal(pictures.join(planes.colour, planes.alpha, like=pixels), pixels)


def test_hidden_pixels_take_the_nearest_colour():
    colour, alpha = np.zeros((3, 6, 3), np.float32), np.zeros((3, 6), np.float32)
    colour[:, 4:], alpha[:, 4:] = 0.7, 1.0
    assert np.allclose(pictures.bleed(colour, alpha), 0.7)


def test_alpha_is_enlarged_within_its_range():
    assert np.allclose(pictures.upscale_alpha(np.full((5, 6), 0.4, np.float32), 3), 0.4, atol=1e-6)
    steps = pictures.upscale_alpha(np.eye(8, dtype=np.float32), 4)
    assert steps.shape == (32, 32)
    assert 0 <= steps.min() < steps.max() <= 1


# IPTC


def iptc(*fields: tuple[int, int, bytes]) -> bytes:
    """A block of captions."""
    return b"".join(
        b"\x1c" + bytes([record, name]) + struct.pack(">H", len(text)) + text for record, name, text in fields
    )


def resources(block: bytes) -> bytes:
    """What Photoshop keeps: something with a name, then a block of captions."""
    named = b"8BIM\x0b\xb7\x03abc" + struct.pack(">I", 3) + b"123\0"
    return named + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(block)) + block + bytes(len(block) % 2)


def with_iptc(data: bytes, *fields: tuple[int, int, bytes]) -> bytes:
    """A JPEG with the segment that Photoshop puts captions into."""
    part = b"Photoshop 3.0\0" + resources(iptc(*fields))
    return data[:2] + b"\xff\xed" + struct.pack(">H", len(part) + 2) + part + data[2:]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])
@pytest.mark.parametrize("xmp", [False, True])
def test_captions_of_agencies_are_kept(tmp_path, suffix, charset, xmp):
    from xml.etree.ElementTree import fromstring

    own = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:Credit="XMP goes before"/>'
        b"</rdf:RDF></x:xmpmeta>"
    )
    buffer = io.BytesIO()
    Image.new("RGB", (20, 16)).save(buffer, "JPEG", **({"xmp": own} if xmp else {}))
    caption = "Café <Lyon> & more"
    fields = [(2, 120, caption.encode(charset)), (2, 110, b"Agency"), (2, 25, b"one"), (2, 25, b"two")]
    (tmp_path / "a.jpg").write_bytes(with_iptc(buffer.getvalue(), *fields))
    write(tmp_path / f"b{suffix}", pictures.read_whole(tmp_path / "a.jpg"))
    packet = pictures.read_whole(tmp_path / f"b{suffix}").metadata.xmp
    assert packet is not None
    texts = [text.strip() for text in fromstring(packet.decode()).itertext() if text.strip()]
    assert texts == [caption, "one", "two", *([] if xmp else ["Agency"])]
    assert (b"XMP goes before" in packet) == xmp


def test_a_jpeg_without_captions_gets_no_packet(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 16)).save(buffer, "JPEG")
    for fields in ([], [(1, 90, b"\x1b%G"), (2, 0, b"\0\4")]):
        data = with_iptc(buffer.getvalue(), *fields)
        assert pictures.read_whole(io.BytesIO(data)).metadata.xmp is None


CAPTION = [
    (1, 90, b"\x1b%G"),
    (2, 0, b"\0\4"),
    (2, 120, "Café".encode()),
    (2, 55, b"20240701"),
    (2, 60, b"120000+0200"),
]


def captioned(path: Path, place: str, *fields: tuple[int, int, bytes]) -> Path:
    """A picture that holds captions at one of the places where programs put them."""
    block = iptc(*fields)
    if place == "profile of a png":
        data = resources(block)
        info = PngInfo()
        info.add_text("Raw profile type iptc", f"\niptc\n{len(data):8}\n{data.hex()}\n", zip=True)
        Image.new("RGB", (20, 16)).save(path.with_suffix(".png"), pnginfo=info)
        return path.with_suffix(".png")
    padded = block + bytes(-len(block) % 4)
    tag = {
        "bytes": (33723, "B", len(block), block, True),
        "words": (33723, "I", len(padded) // 4, struct.unpack(f"<{len(padded) // 4}I", padded), True),
        "resources": (34377, "B", len(resources(block)), resources(block), True),
    }[place]
    pixels = np.zeros((16, 20, 3), np.uint8)
    tifffile.imwrite(path.with_suffix(".tif"), pixels, byteorder="<", metadata=None, extratags=[tag])
    return path.with_suffix(".tif")


PLACES = ["bytes", "words", "resources", "profile of a png"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_captions_outside_of_jpegs_are_kept(tmp_path, place, suffix):
    write(tmp_path / f"b{suffix}", pictures.read_whole(captioned(tmp_path / "a", place, *CAPTION)))
    packet = pictures.read_whole(tmp_path / f"b{suffix}").metadata.xmp or b""
    assert "Café".encode() in packet
    assert b"<photoshop:DateCreated>2024-07-01T12:00:00+02:00<" in packet


@pytest.mark.parametrize("place", PLACES)
def test_captions_that_a_format_cannot_hold_are_named(tmp_path, place):
    with pytest.warns(UsrnetWarning, match="BMP does not hold: .*XMP"):
        write(tmp_path / "b.bmp", pictures.read_whole(captioned(tmp_path / "a", place, *CAPTION)))


@pytest.mark.parametrize("place", PLACES)
def test_captions_without_a_place_in_xmp_are_named(tmp_path, place):
    source = captioned(tmp_path / "a", place, *CAPTION, (2, 7, b"lead"), (2, 118, b"M. Anning"))
    with pytest.warns(UsrnetWarning, match=r"its IPTC fields 2:07, 2:118 are left out"):
        pictures.read_whole(source)


@pytest.mark.parametrize("place", ["bytes", "resources", "profile of a png"])
def test_captions_that_are_damaged_are_named(tmp_path, place, monkeypatch):
    monkeypatch.setitem(globals(), "iptc", lambda *fields: b"\x1c\x02\x78\0\x50 shorter than it says")
    with pytest.warns(UsrnetWarning, match="IPTC block is broken"):
        assert pictures.read_whole(captioned(tmp_path / "a", place)).metadata.xmp is None


@pytest.mark.parametrize(
    ("text", "date"), [("20240701", "2024-07-01"), ("20240000", "2024"), ("20240700", "2024-07"), ("July", "July")]
)
def test_dates_of_captions_are_written_as_xmp_writes_them(tmp_path, text, date):
    source = captioned(tmp_path / "a", "bytes", (2, 55, text.encode()))
    assert f"<photoshop:DateCreated>{date}<".encode() in (pictures.read_whole(source).metadata.xmp or b"")


def test_xmp_in_a_profile_of_a_png(tmp_path):
    packet, info = b"<x:xmpmeta><rdf:Description dc:title='lamp'/></x:xmpmeta>", PngInfo()
    info.add_text("Raw profile type xmp", f"\nxmp\n{len(packet):8}\n{packet.hex()}\n", zip=True)
    Image.new("RGB", (20, 16)).save(tmp_path / "a.png", pnginfo=info)
    assert pictures.read_whole(tmp_path / "a.png").metadata.xmp == packet


def test_captions_that_xml_cannot_hold_are_kept_without_what_it_cannot(tmp_path):
    from xml.etree.ElementTree import fromstring

    buffer = io.BytesIO()
    Image.new("RGB", (20, 16)).save(buffer, "JPEG")
    fields = [(2, 105, "\ufffe\uffff a\x01b".encode()), (2, 55, b""), (2, 60, b"120000+0000")]
    (tmp_path / "a.jpg").write_bytes(with_iptc(buffer.getvalue(), *fields))
    with pytest.warns(UsrnetWarning, match="its IPTC fields 2:60 are left out"):
        packet = pictures.read_whole(tmp_path / "a.jpg").metadata.xmp
    assert packet is not None
    assert [text for text in fromstring(packet.decode()).itertext() if text.strip()] == ["ab"]


def test_a_stream_too_is_refused_what_its_format_cannot_hold():
    picture = Picture(np.zeros((2, 65501, 3), np.uint8))
    with pytest.raises(PictureError, match="standard output: JPEG holds at most 65500 pixels a side"):
        write(io.BytesIO(), picture, format="JPEG")
