"""Small valid files of every kind that is read: what is bent by ``fuzz.mutations``."""

import json
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from usrnet import kernels
from usrnet.io.encode import apng16
from usrnet.io.iptc import RESOURCE

File = tuple[str, bytes]  # the suffix, the content
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF tiff:Orientation="6" hdrgm:Version="1.0"/></x:xmpmeta>'

_IPTC = b"".join(
    struct.pack(">BBBH", 0x1C, *field, len(text)) + text
    for *field, text in ((2, 120, b"a caption"), (2, 55, b"20200102"), (2, 60, b"101112+0100"), (2, 118, b"me"))
)


def _values(dtype: Any, *shape: int) -> np.ndarray:
    values = np.random.default_rng(sum(shape)).random(shape)
    kind = np.dtype(dtype)
    return values.astype(kind) if kind.kind == "f" else (values * np.iinfo(kind).max).astype(kind)


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x829A] = "Maker", 6, 0.01
    exif[0x8769] = {0x9003: "2020:01:01 00:00:00", 0xA002: 9, 0xA003: 7, 0xA005: {1: "R03"}}
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 1.5)}
    return exif


def _gappy(dtype: Any) -> np.ndarray:
    values = _values(dtype, 20, 16)
    values[:3, :5] = np.nan
    return values


def _jpeg_with_iptc(image: Image.Image) -> bytes:
    """With a block of captions among Photoshop's resources."""
    data = _written(image, "JPEG")
    resource = b"8BIM" + struct.pack(">HHI", RESOURCE, 0, len(_IPTC)) + _IPTC + bytes(len(_IPTC) % 2)
    part = b"Photoshop 3.0\0" + resource
    return data[:2] + b"\xff\xed" + struct.pack(">H", len(part) + 2) + part + data[2:]


def _written(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pictures() -> list[File]:
    """Pictures of every format that can be made here."""
    return [*_by_pillow(), *_deep(), *_tiffs(), *_fits()]


def _by_pillow() -> list[File]:
    from PIL.PngImagePlugin import PngInfo

    colour = Image.fromarray(_values(np.uint8, 19, 24, 3))
    opaque = Image.fromarray(_values(np.uint8, 19, 24, 4))
    grey, bits = colour.convert("L"), colour.convert("1")
    palette = colour.quantize(8)
    text = PngInfo()
    text.add_text("Description", "a photo")
    text.add_text("XML:com.adobe.xmp", _XMP.decode(), zip=True)
    text.add(b"gAMA", (45455).to_bytes(4, "big"))
    beside: dict[str, Any] = {"exif": _exif(), "icc_profile": SRGB, "dpi": (300, 300)}
    found = [
        (".png", _written(colour, "PNG", pnginfo=text, **beside)),
        (".png", _written(opaque, "PNG")),
        (".png", _written(grey, "PNG", transparency=7)),
        (".png", _written(palette, "PNG", transparency=b"\0\1\2")),
        (".png", _written(bits, "PNG")),
        (".png", _written(Image.fromarray(_values(np.uint16, 9, 7)), "PNG")),
        (".jpg", _written(colour, "JPEG", xmp=_XMP, comment="c", **beside)),
        (".jpg", _written(grey, "JPEG")),
        (".jpg", _jpeg_with_iptc(colour)),
        (".jpg", _written(colour.convert("CMYK"), "JPEG")),
        (".jpg", _written(colour, "JPEG", progressive=True, subsampling="4:2:0", restart_marker_blocks=1)),
        (".mpo", _written(colour, "MPO", save_all=True, append_images=[grey.convert("RGB")], exif=_exif())),
        (".webp", _written(colour, "WEBP", xmp=_XMP, **beside)),
        (".webp", _written(opaque, "WEBP", lossless=True)),
        (".avif", _written(colour, "AVIF", **beside)),
        (".jp2", _written(colour, "JPEG2000")),
        (".gif", _written(palette, "GIF", transparency=1)),
        (".icns", _written(opaque.resize((16, 16)), "ICNS", sizes=[(16, 16)])),
        (".ico", _written(opaque, "ICO", sizes=[(16, 16)])),
        (".ico", _written(opaque, "ICO", sizes=[(16, 16)], bitmap_format="bmp")),
        (".tga", _written(opaque, "TGA", compression="tga_rle")),
        (".tga", _written(palette, "TGA")),
    ]
    for kind in ("GIF", "PNG", "WEBP", "AVIF"):
        frames = {
            "save_all": True,
            "append_images": [opaque.rotate(90), opaque.rotate(180)],
            "duration": [10, 20, 30],
        }
        found.append((f".{kind.lower()}", _written(opaque, kind, **frames)))
    for kind in ("BMP", "DDS", "IM", "PCX", "QOI", "SGI"):
        found.append((f".{kind.lower()}", _written(colour, kind)))
    for kind, image in (
        ("BMP", palette),
        ("MSP", bits),
        ("XBM", bits),
        ("BLP", palette),
        ("SPIDER", grey.convert("F")),
    ):
        found.append((f".{kind.lower()}", _written(image, kind)))
    for size in ("P4", "P5", "P6"):
        image = {"P4": bits, "P5": grey, "P6": colour}[size]
        found.append((".ppm", _written(image, "PPM")))
    return found


def _deep() -> list[File]:
    """More than 8 bits, and interlaced PNGs."""
    import imagecodecs

    found: list[File] = []
    for shape in ((9, 7, 2), (9, 7, 3), (9, 7, 4)):
        found.append((".png", bytes(imagecodecs.png_encode(_values(np.uint16, *shape)))))
    frames = [_values(np.uint16, 9, 7, 4) for _ in range(3)]
    found.append((".png", apng16(frames, [10, 20, 30], 0)))
    for bits in (10, 12):
        values = _values(np.uint16, 16, 24, 3) >> (16 - bits)
        found.append((".avif", bytes(imagecodecs.avif_encode(values, level=60, bitspersample=bits))))
        found.append((".jp2", bytes(imagecodecs.jpeg2k_encode(values, level=0, bitspersample=bits))))
    found.append((".j2k", bytes(imagecodecs.jpeg2k_encode(_values(np.uint16, 16, 24), level=0, codecformat="j2k"))))
    numbers = " ".join(map(str, _values(np.uint16, 18)))
    found += [
        (".pgm", b"P5 7 9 65535\n" + _values(">u2", 63).tobytes()),
        (".ppm", b"P6\n# c\n3 2 1023\n" + _values(">u2", 18).tobytes()),
        (".ppm", f"P3 3 2 65535\n{numbers}\n".encode()),
        (".pbm", b"P1 4 2\n0 1 0 1\n1 1 0 0\n"),
        (".pfm", b"PF\n3 2\n-1.0\n" + _values("<f4", 18).tobytes()),
        (".pam", b"P7\nWIDTH 3\nHEIGHT 2\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n" + bytes(range(24))),
    ]
    try:
        import pillow_heif
    except ImportError:
        return found
    for mode, values in (("RGB", _values(np.uint8, 16, 24, 3)), ("RGB;16", _values(np.uint16, 16, 24, 3))):
        heif = pillow_heif.from_bytes(mode, (24, 16), values.tobytes())
        heif.info["exif"] = b"Exif\0\0" + _exif().tobytes().removeprefix(b"Exif\0\0")
        buffer = BytesIO()
        heif.save(buffer, format="HEIF", quality=50)
        found.append((".heic", buffer.getvalue()))
    return found


def _tiffs() -> list[File]:
    import tifffile

    found: list[File] = []

    def add(values: np.ndarray, **options: Any) -> None:
        buffer = BytesIO()
        constructor = {key: options.pop(key) for key in ("bigtiff", "byteorder", "imagej", "ome") if key in options}
        with tifffile.TiffWriter(buffer, **constructor) as writer:
            writer.write(values, **options)
        found.append((".tif", buffer.getvalue()))

    grey, colour = _values(np.uint16, 40, 33), _values(np.uint8, 40, 33, 3)
    geo = [
        (33550, "d", 3, (1.0, 1.0, 0.0), True),
        (33922, "d", 6, (0.0,) * 6, True),
        (34735, "H", 4, (1, 1, 0, 0), True),
    ]
    about = [(700, "B", len(_XMP), _XMP, True), (274, "H", 1, 6, True), *geo]
    add(colour, photometric="rgb", extratags=about, iccprofile=SRGB, description="a photo", resolution=(300, 300))
    add(grey, bigtiff=True, byteorder=">", rowsperstrip=7)
    add(colour, photometric="rgb", extratags=[(33723, "B", len(_IPTC), _IPTC, True)])
    add(_gappy(np.float32), extratags=[(42113, "s", 0, "-9999", True)], rowsperstrip=8)
    for compression in (
        "lzw",
        "deflate",
        "packbits",
        "zstd",
        "lzma",
        "jpeg",
        "jpeg2000",
        "webp",
        "lerc",
        "png",
        "jpegxl",
    ):
        add(colour, photometric="rgb", compression=compression, tile=(16, 16))
    add(grey, compression="deflate", predictor=True, rowsperstrip=8)
    add(_values(np.float32, 40, 33), compression="deflate", predictor=True, tile=(32, 32))
    add(np.moveaxis(colour, -1, 0), photometric="rgb", planarconfig="separate", compression="lzw", byteorder=">")
    add(colour, photometric="ycbcr", compression="jpeg", subsampling=(2, 2))
    add(_values(np.uint8, 20, 16, 4), photometric="separated", extratags=[(332, "H", 1, 1, True)])
    add(_values(np.uint16, 20, 16, 5), photometric="rgb", extrasamples=["assocalpha", "unspecified"])
    add(_values(np.uint8, 20, 16), photometric="palette", colormap=_values(np.uint16, 3, 256))
    add(_values(np.int16, 20, 16, 3), photometric=8)
    add(_values(np.uint8, 20, 16) > 99, photometric="miniswhite", compression="packbits")
    add(grey >> 4, bitspersample=12, photometric="minisblack")
    for dtype in (np.int16, np.uint32, np.float16, np.float64, np.complex64):
        add(_values(np.float32, 20, 16).astype(dtype))
    add(_values(np.uint16, 3, 2, 16, 16), imagej=True, metadata={"axes": "ZCYX"}, resolution=(10, 10))
    add(_values(np.uint16, 2, 3, 16, 16), ome=True, metadata={"axes": "CZYX", "PhysicalSizeX": 0.1})
    add(_values(np.uint8, 3, 16, 16), metadata={"axes": "ZYX"}, photometric="minisblack")
    add(_values(np.uint8, 16, 32, 16), photometric="minisblack", volumetric=True, tile=(16, 16, 16))
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(colour[::2, ::2], subfiletype=1, photometric="rgb", subifds=1)
        writer.write(colour, photometric="rgb")
        writer.write(grey, photometric="minisblack")
    found.append((".tif", buffer.getvalue()))
    bits = Image.fromarray(_values(np.uint8, 20, 16)).convert("1")
    for compression in ("group3", "group4"):
        found.append((".tif", _written(bits, "TIFF", compression=compression)))
    return found


def _fits() -> list[File]:
    try:
        from astropy.io import fits
    except ImportError:
        return []
    found: list[File] = []

    def add(*units: Any) -> None:
        buffer = BytesIO()
        fits.HDUList(list(units)).writeto(buffer, output_verify="silentfix+ignore")
        found.append((".fits", buffer.getvalue()))

    header = fits.Header({"CRPIX1": 5.0, "CDELT1": 0.1, "OBJECT": "M31"})
    add(fits.PrimaryHDU(_values(np.uint16, 9, 7), header))  # stored with an offset
    add(fits.PrimaryHDU(_values(np.float32, 2, 9, 7)))
    add(fits.PrimaryHDU(_gappy(np.float64)))
    add(fits.PrimaryHDU(), fits.ImageHDU(_values(np.int16, 9, 7)))
    scaled = fits.PrimaryHDU(_values(np.uint8, 9, 7))
    scaled.header["BSCALE"], scaled.header["BLANK"] = 0.5, 3
    add(scaled)
    for kind in ("RICE_1", "GZIP_1", "PLIO_1", "HCOMPRESS_1"):
        add(fits.PrimaryHDU(), fits.CompImageHDU(_values(np.uint8, 16, 16).astype(np.int16), compression_type=kind))
    return found


def kernel_files(folder: Path) -> list[File]:
    """Kernel files of every kind: those that are written, and others that are read. ``folder`` is for the making."""
    taps = kernels.gaussian(1.0)[8:17, 8:17]
    stack = np.stack([kernels.gaussian(width)[9:16, 9:16] for width in (0.5, 0.7, 0.9, 1.1)])
    found: list[File] = []
    for suffix in kernels.SUFFIXES:
        kernels.save(folder / f"k{suffix}", taps)
        found.append((suffix, (folder / f"k{suffix}").read_bytes()))

    def made(write: Callable[[BytesIO], object]) -> bytes:
        buffer = BytesIO()
        write(buffer)
        return buffer.getvalue()

    for values in (
        stack,
        taps.astype(np.float32).T,
        taps + 0j,
        stack[:, None, ..., None],
        (taps * 999).astype(">u2"),
    ):
        found.append((".npy", made(lambda buffer, values=values: np.save(buffer, values))))
    found += [
        (".npz", made(lambda buffer: np.savez_compressed(buffer, a=stack, b=taps, note=np.array("a text")))),
        (".csv", "\ufeff0,1;0,2;0,1\r\n0,2;0,4;0,2\r\n0,1;0,2;0,1\r\n".encode()),
        (".txt", "0.1 0.2 0.1 # a row\n0.2 0.4 0.2\n".encode("utf-16")),
        (".json", json.dumps({"kernels": [["gaussian:1", "disk:2"], ["motion:3", "k.npy"]]}).encode()),
    ]
    found += _matlab(folder, taps, stack)
    found += [file for file in pictures() if file[0] in (".tif", ".fits", ".png")]
    return found


def _matlab(folder: Path, taps: np.ndarray, stack: np.ndarray) -> list[File]:
    from scipy.io import savemat
    from scipy.sparse import csc_matrix

    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = taps, stack[0]
    variables: dict[str, Any] = {"kernels": cells, "s": {"psf": taps, "name": "x"}, "m": csc_matrix(taps), "t": "rgb"}
    found: list[File] = []
    for packed in (True, False):
        buffer = BytesIO()
        savemat(buffer, variables, do_compression=packed)
        found.append((".mat", buffer.getvalue()))
    buffer = BytesIO()
    savemat(buffer, {"a": taps, "b": csc_matrix(taps)}, format="4")
    found.append((".mat", buffer.getvalue()))
    try:
        import h5py
    except ImportError:
        return found
    path = folder / "k.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["psf"] = taps.T
        file.create_dataset("packed", data=stack, compression="gzip", chunks=(1, 7, 7), shuffle=True)
        sparse = file.create_group("sparse")
        sparse.attrs["MATLAB_sparse"] = np.uint64(9)
        matrix = csc_matrix(taps)
        sparse["data"], sparse["ir"], sparse["jc"] = matrix.data, matrix.indices, matrix.indptr
        file["text"] = np.array([114, 103, 98], np.uint16)
        file["text"].attrs["MATLAB_class"] = np.bytes_("char")
        inner = file.create_group("#refs#")
        inner["a"] = taps
        file.create_dataset("cells", data=[inner["a"].ref], dtype=h5py.ref_dtype)
    found.append((".mat", path.read_bytes()))
    return found
