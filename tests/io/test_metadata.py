"""Nothing is lost that lay beside the pixels: kept, corrected for the result, or named."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from usrnet import io
from usrnet.errors import UsrnetWarning
from usrnet.io import Metadata, Picture, PixelSize, note_what_is_lost
from usrnet.io.metadata import _Text as metadata_text
from usrnet.io.metadata import read_exif
from usrnet.restoration import Handling, Restorer, observe, restore_file

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="lamp"/></x:xmpmeta>'


class Utf8(str):
    """A text that Pillow writes into an EXIF block as cameras and editors do."""

    __slots__ = ()

    def encode(self, encoding="utf-8", errors="strict"):
        return super().encode("utf-8")


def phone_photo(path: Path, pixels: np.ndarray, **options) -> Path:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110], exif[0x0132] = 6, "Maker", "Phone 7", "2024:07:01 10:00:00"
    exif[0x8769] = {
        0x829A: 0.008, 0x9003: "2024:07:01 10:00:00", 0xA434: "wide lens", 0xA002: 60, 0xA003: 40,
        0xA001: 65535, 0xA005: {1: "R03"},
    }  # fmt: skip
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 24.0), 3: "E", 4: (11.0, 34.0, 0.0)}
    Image.fromarray(pixels).save(path, exif=exif, dpi=(300, 300), quality=95, xmp=XMP, icc_profile=SRGB, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".avif"])
@pytest.mark.filterwarnings("ignore:.*does not hold. resolution")
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_texts_of_exif_stay_as_they_were(tmp_path, photo, suffix, encoding):
    exif = Image.Exif()
    owner, caption, lens = ("© 2024 Jürgen Müller", "Ein Café", "Ø 50 mm")
    wrap = Utf8 if encoding == "utf-8" else metadata_text
    exif[0x8298], exif[0x010E], exif[0x8769] = wrap(owner), wrap(caption), {0xA434: wrap(lens)}
    Image.fromarray(photo[:20, :30]).save(tmp_path / "a.jpg", exif=exif)
    picture = io.read_whole(tmp_path / "a.jpg")
    made = io.result_of(picture, picture.pixels.repeat(2, 0).repeat(2, 1), 2)
    made = replace(made, metadata=replace(made.metadata, provenance="{}"))  # which is put into the block
    io.write(tmp_path / f"b{suffix}", made)
    data = (tmp_path / f"b{suffix}").read_bytes()
    outside = "utf-8" if suffix == ".tif" else encoding  # a TIFF's own tags are UTF-8
    assert owner.encode(outside) in data
    assert caption.encode(outside) in data
    assert lens.encode(encoding) in data


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".avif"])
@pytest.mark.filterwarnings("ignore:.*does not hold. resolution")
def test_a_photo_keeps_what_it_says(tmp_path, photo, suffix):
    picture = io.read_whole(phone_photo(tmp_path / "a.jpg", photo[:40, :60]))
    assert picture.pixels.shape == (60, 40, 3)
    enlarged = io.result_of(picture, picture.pixels.repeat(2, 0).repeat(2, 1), 2)
    if suffix in (".webp", ".avif"):
        with pytest.warns(UsrnetWarning, match="does not hold: resolution"):
            io.write(tmp_path / f"b{suffix}", enlarged)
    else:
        io.write(tmp_path / f"b{suffix}", enlarged)
    back = io.read_whole(tmp_path / f"b{suffix}")
    assert back.pixels.shape == (120, 80, 3)  # upright, and not turned again
    exif = read_exif(back.metadata.exif)
    inner, place = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
    assert exif.get(0x0112, 1) == 1
    assert (exif[0x010F], exif[0x0110], exif[0x0132]) == ("Maker", "Phone 7", "2024:07:01 10:00:00")
    assert (inner[0x829A], inner[0xA434], inner[0xA001]) == (0.008, "wide lens", 65535)
    assert (inner[0xA002], inner[0xA003]) == (80, 120)
    assert exif.get_ifd(0xA005)[1].strip("\0") == "R03"
    assert place[2] == (48.0, 8.0, 24.0)
    assert back.icc_profile == SRGB
    assert back.metadata.xmp is not None
    assert b'tiff:Orientation="1"' in back.metadata.xmp
    assert b'dc:title="lamp"' in back.metadata.xmp
    if suffix in (".png", ".jpg", ".tif"):
        assert back.metadata.dpi == pytest.approx((300, 300), abs=0.01)
    assert picture.metadata.camera
    assert back.metadata.camera


def test_strip_leaves_the_colours_only(tmp_path, photo):
    metadata = io.read_whole(phone_photo(tmp_path / "a.jpg", photo[:40, :60])).metadata
    assert metadata.stripped() == Metadata(icc_profile=SRGB)


def test_the_library_does_as_files_do(tmp_path, photo):
    with Image.open(phone_photo(tmp_path / "a.jpg", photo[:40, :60])) as image:
        given = io.from_any(image)
        answer = io.to_any(given.pixels.repeat(2, 0).repeat(2, 1), given=given)
    assert answer.size == (80, 120)
    assert answer.getexif().get(0x0112) == 1
    assert answer.getexif()[0x0110] == "Phone 7"
    assert answer.info["icc_profile"] == SRGB
    assert answer.info["dpi"] == (300, 300)
    answer.save(tmp_path / "b.png", exif=answer.getexif())
    assert read_exif(io.read_whole(tmp_path / "b.png").metadata.exif).get_ifd(0x8769)[0xA434] == "wide lens"


def test_inks_leave_their_profile_behind(tmp_path, photo):
    inks = Image.fromarray(photo[:40, :60]).convert("CMYK")
    profile = bytearray(SRGB)
    profile[16:20] = b"CMYK"
    inks.save(tmp_path / "a.jpg", icc_profile=bytes(profile))
    with Image.open(tmp_path / "a.jpg") as image, pytest.warns(UsrnetWarning, match="profile of inks cannot be used"):
        given = io.from_any(image)
    answer = io.to_any(given.pixels, given=given)
    assert answer.mode == "RGB"
    assert "icc_profile" not in answer.info


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif", ".tif"])
def test_a_broken_block_costs_nothing_but_itself(tmp_path, photo, suffix):
    image = Image.fromarray(photo[:40, :60])
    image.save(tmp_path / f"a{suffix}", icc_profile=b"not a profile" * 50)
    with pytest.warns(UsrnetWarning, match="colour profile is broken"):
        assert io.read_whole(tmp_path / f"a{suffix}").pixels.shape == (40, 60, 3)
    if suffix in (".png", ".webp"):
        image.save(tmp_path / f"b{suffix}", exif=b"Exif\0\0\0\0\x11\0\0\1\4\0garbage")
        with pytest.warns(UsrnetWarning, match="EXIF block is broken"):
            assert io.read_whole(tmp_path / f"b{suffix}").pixels.shape == (40, 60, 3)


def test_a_gain_map_is_left_out_and_said(tmp_path, photo):
    image = Image.fromarray(photo[:40, :60])
    xmp = b'<x:xmpmeta><rdf:Description hdrgm:Version="1.0" dc:title="lamp"/></x:xmpmeta>'
    image.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[image.resize((30, 20))], xmp=xmp)
    with pytest.warns(UsrnetWarning) as notes:
        picture = io.read_whole(tmp_path / "a.jpg")
    assert picture.pixels.shape == (40, 60, 3)
    assert any("gain map" in str(note.message) for note in notes)
    assert picture.metadata.xmp is not None
    assert b"hdrgm" not in picture.metadata.xmp
    assert b"lamp" in picture.metadata.xmp


def test_gamma_and_texts_of_a_png(tmp_path):
    info = PngInfo()
    info.add(b"gAMA", (100000).to_bytes(4, "big"))
    info.add_itxt("Description", "grüße", "", "")
    info.add_text("Software", "a scanner")
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(tmp_path / "a.png", pnginfo=info)
    picture = io.read_whole(tmp_path / "a.png")
    assert (picture.metadata.gamma, picture.metadata.description) == (1.0, "grüße")
    io.write(tmp_path / "b.png", picture)
    assert io.read_whole(tmp_path / "b.png").metadata == picture.metadata
    with pytest.warns(UsrnetWarning, match="JPEG does not hold: gamma"):
        io.write(tmp_path / "b.jpg", Picture(picture.pixels.astype(np.uint8), picture.metadata))


@pytest.mark.parametrize("late", [False, True])
def test_texts_of_a_png_by_any_name(tmp_path, late):
    info = PngInfo()
    info.add_text("Author", "M. Anning", zip=True)
    info.add_itxt("Title", "Küste", "de", "Titel")
    info.add_text("date:create", "2024-07-01")
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "a.png", pnginfo=info)
    if late:  # ImageMagick and others write them behind the pixels
        data = (tmp_path / "a.png").read_bytes()
        pixels, end = data.index(b"IDAT") - 4, data.index(b"IEND") - 4
        (tmp_path / "a.png").write_bytes(data[:33] + data[pixels:end] + data[33:pixels] + data[end:])
    picture = io.read_whole(tmp_path / "a.png")
    assert picture.metadata.texts == {"Author": "M. Anning", "Title": "Küste"}
    assert picture.metadata.xmp is not None
    io.write(tmp_path / "b.png", picture)
    with Image.open(tmp_path / "b.png") as image:
        assert (image.info["Author"], image.info["Title"]) == ("M. Anning", "Küste")
    with pytest.warns(UsrnetWarning, match=r"TIFF does not hold: texts \(Author, Title\)"):
        note_what_is_lost(picture.metadata, "TIFF", "b.tif")
    assert not picture.metadata.stripped().texts


@pytest.mark.parametrize("attribute", [True, False])
def test_further_segments_of_xmp_are_named(tmp_path, attribute):
    space = b"xmlns:xmpNote='http://ns.adobe.com/xmp/note/'"
    said = (
        b" xmpNote:HasExtendedXMP='00FF'/>"
        if attribute
        else b"><xmpNote:HasExtendedXMP>00FF</xmpNote:HasExtendedXMP>"
    )
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:Description dc:title='lamp' " + space + said
    Image.new("RGB", (9, 9)).save(tmp_path / "a.jpg", xmp=packet)
    with pytest.warns(UsrnetWarning, match="its extended XMP is left out"):
        found = io.read_whole(tmp_path / "a.jpg").metadata.xmp
    assert found is not None
    assert b"HasExtendedXMP" not in found
    assert b"lamp" in found


def imagej_stack(path: Path) -> np.ndarray:
    planes = 400 * np.arange(2 * 8 * 9, dtype=np.uint16).reshape(2, 8, 9)
    luts = [np.full((3, 256), value, np.uint8) for value in (1, 2)]
    notes = {
        "Info": "a lens",
        "Labels": ["dapi", "gfp"],
        "LUTs": luts,
        "Ranges": (0.0, 9.0, 0.0, 5.0),
        "ROI": b"Iout" * 20,
    }
    tifffile.imwrite(path, planes, imagej=True, metadata={"axes": "CYX", **notes})
    return planes


@pytest.mark.filterwarnings("ignore:.*ImageJ drew on it", "ignore:.*only the first is used")
def test_what_imagej_noted_is_kept(tmp_path):
    imagej_stack(tmp_path / "a.tif")
    restorer, known = Restorer("tv", device="cpu", precision="fp32"), observe(scale=2, kernel="delta", noise_level=0)
    with pytest.warns(UsrnetWarning, match=r"what ImageJ drew on it is left out \(ROI\)"):
        restore_file(restorer, tmp_path / "a.tif", tmp_path / "b.tif", known, handling=Handling(all_pages=True))
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        found = file.imagej_metadata
        assert found is not None
        assert (found["Info"], found["Labels"], found["Ranges"]) == ("a lens", ["dapi", "gfp"], (0, 9, 0, 5))
        assert [lut[0, 0] for lut in found["LUTs"]] == [1, 2]
        assert [50839 in page.tags for page in file.pages] == [True, False]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.warns(UsrnetWarning, match="only the first is used"):
        restore_file(restorer, tmp_path / "a.tif", tmp_path / "c.tif", known)
    with tifffile.TiffFile(tmp_path / "c.tif") as file:
        assert file.imagej_metadata is not None
        assert file.imagej_metadata["Info"] == "a lens"
        assert "Labels" not in file.imagej_metadata
    with pytest.warns(UsrnetWarning, match=r"PNG does not hold: what ImageJ noted \(Info"):
        restore_file(restorer, tmp_path / "a.tif", tmp_path / "c.png", known)


def test_what_a_format_cannot_hold_is_named_once(tmp_path):
    metadata = Metadata(gamma=1.0, dpi=(300, 300), pixel_size=PixelSize(0.1, 0.1, "um"), geo={33550: (1.0, 1.0, 0.0)})
    with pytest.warns(UsrnetWarning) as notes:
        io.write(tmp_path / "a.webp", Picture(np.zeros((9, 9, 3), np.uint8), metadata))
    assert len(notes) == 1
    assert "WEBP does not hold: resolution, gamma, pixel size, place on Earth" in str(notes[0].message)


# Sizes that become smaller


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_pixel_size_of_imagej(tmp_path, scale):
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((8, 9), np.uint16), imagej=True, resolution=(1 / 0.103, 1 / 0.103),
        metadata={"unit": "um"},
    )  # fmt: skip
    picture = io.read_whole(tmp_path / "a.tif")
    io.write(tmp_path / "b.tif", io.result_of(picture, np.zeros((8 * scale, 9 * scale), np.uint16), scale))
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.is_imagej
        assert file.imagej_metadata is not None
        assert file.imagej_metadata["unit"] == "um"
        across = file.pages.first.tags["XResolution"].value
        assert across[1] / across[0] == pytest.approx(0.103 / scale, rel=1e-4)
    with pytest.warns(UsrnetWarning, match="JPEG does not hold: pixel size"):
        io.write(tmp_path / "b.jpg", Picture(np.zeros((8, 9), np.uint8), picture.metadata))
    io.write(tmp_path / "b.png", picture)
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["dpi"][0] == pytest.approx(0.0254 / 0.103e-6, rel=1e-3)


def test_resolution_per_inch_is_for_printing_and_per_centimetre_for_measuring(tmp_path):
    pixels = np.zeros((8, 9), np.uint8)
    for unit, factor in (("inch", 1), ("centimeter", 2)):
        tifffile.imwrite(tmp_path / "a.tif", pixels, resolution=(400, 200), resolutionunit=unit)
        picture = io.read_whole(tmp_path / "a.tif")
        io.write(tmp_path / "b.tif", io.result_of(picture, pixels.repeat(2, 0).repeat(2, 1), 2))
        with tifffile.TiffFile(tmp_path / "b.tif") as file:
            tags = file.pages.first.tags
            values = [tags[name].value[0] / tags[name].value[1] for name in ("XResolution", "YResolution")]
            assert values == pytest.approx([400 * factor, 200 * factor])
            assert int(tags["ResolutionUnit"].value) == (2 if unit == "inch" else 3)


@pytest.mark.parametrize("point", [False, True])
@pytest.mark.parametrize("scale", [2, 3])
def test_a_place_on_earth_stays_where_it_is(tmp_path, point, scale):
    keys = (1, 1, 0, 1, 1025, 0, 1, 2 if point else 1)
    geo = {33550: (10.0, 10.0, 0.0), 33922: (0.0, 0.0, 0.0, 500000.0, 5300000.0, 0.0), 34735: keys}
    matrix = np.array([[10, 0, 0, 500000], [0, -10, 0, 5300000], [0, 0, 0, 0], [0, 0, 0, 1]], float)
    moved = Metadata(geo=geo).enlarged(scale, (1, 1)).geo
    turned = np.reshape(
        Metadata(geo={**geo, 34264: tuple(matrix.ravel())}).enlarged(scale, (1, 1)).geo[34264], (4, 4)
    )
    half = 0.5 if point else 0.0
    for column, row in ((0.0, 0.0), (7.0, 3.0)):
        east = 500000 + 10 * (column - 0)
        # The same spot of the scene, in pixels of the result.
        finer = (column + half) * scale - half
        tie, size = moved[33922], moved[33550]
        assert tie[3] + (finer - tie[0]) * size[0] == pytest.approx(east)
        finer_row = (row + half) * scale - half
        assert (turned @ [finer, finer_row, 0, 1])[:2] == pytest.approx((matrix @ [column, row, 0, 1])[:2])


def test_quantisation_tables_are_told(tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "a.jpg", quality=50)
    metadata = io.read_whole(tmp_path / "a.jpg").metadata
    assert metadata.jpeg is not None
    assert [table.shape for table in metadata.jpeg.tables] == [(8, 8), (8, 8)]
    assert metadata.jpeg.tables[0][0, 0] == 16
    assert metadata.enlarged(2, (1, 1)).jpeg is None


@pytest.mark.filterwarnings("ignore:.*does not hold")
@pytest.mark.parametrize(
    "options",
    [
        {"resolution": (4_000_000_000, 4_000_000_000), "resolutionunit": 2},
        {"software": "§ ü".encode()},
        {"extratags": [(34735, "d", 4, (1.0, 1.0, 0.0, 1e300), True), (33550, "B", 3, b"abc", True)]},
        {"description": '<OME><Pixels PhysicalSizeX="0" PhysicalSizeY="nan"/></OME>'},
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_odd_values_beside_the_pixels_do_not_hinder_writing(tmp_path, options, suffix):
    pixels = np.zeros((8, 9), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", metadata=None, **options)
    picture = io.read_whole(tmp_path / "a.tif")
    io.write(tmp_path / f"b{suffix}", io.result_of(picture, pixels.repeat(2, 0).repeat(2, 1), 2))
    assert io.read(tmp_path / f"b{suffix}").pixels.shape == (16, 18)


def test_ome_descriptions_say_the_new_sizes():
    from usrnet.io.tiff import description_of_result

    text = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1"><Image ID="Image:0">'
        '<Pixels DimensionOrder="XYCZT" SizeX="30" SizeY="20" SizeC="2" PhysicalSizeX="0.1" PhysicalSizeY="0.2">'
        '<TiffData><UUID FileName="a.ome.tif">urn:uuid:1</UUID></TiffData></Pixels></Image></OME>'
    )
    made = description_of_result(text, 2, (40, 60), pages=2, all_pages=True)
    assert made is not None
    assert re.findall(r'(SizeX|SizeY|PhysicalSizeX|PhysicalSizeY)="([^"]*)"', made) == [
        ("SizeX", "60"), ("SizeY", "40"), ("PhysicalSizeX", "0.05"), ("PhysicalSizeY", "0.1"),
    ]  # fmt: skip
    assert "UUID" not in made
    assert description_of_result(text, 2, (40, 60), pages=2, all_pages=False) is None


def test_images_of_an_ome_file_keep_their_own_sizes():
    from usrnet.io.tiff import description_of_result

    text = (
        '<OME><Image ID="Image:0"><Pixels SizeX="30" SizeY="20" PhysicalSizeX="0.1"/></Image>'
        '<Image ID="Image:1"><Pixels SizeX="12" SizeY="8" PhysicalSizeX="0.4"/></Image></OME>'
    )
    made = description_of_result(text, 3, (60, 90), pages=2, all_pages=True) or ""
    assert re.findall(r'\bSize[XY]="([^"]*)"', made) == ["90", "60", "36", "24"]
    assert [float(size) for size in re.findall(r'PhysicalSizeX="([^"]*)"', made)] == pytest.approx([0.1 / 3, 0.4 / 3])
