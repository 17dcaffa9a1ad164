"""Files that hold pictures of a kind that is not read here: known by their first bytes, refused with what to do."""

from usrnet.errors import PictureError

DEVELOP = "is a camera's raw file: develop it first (darktable, RawTherapee) and save a TIFF"
_CONVERT = "is not read: convert it to PNG or TIFF first"
_FLOATS = "is not read: save it as a TIFF with floats first"
_MICROSCOPE = "is not read: export it as TIFF or OME-TIFF first (Fiji opens it)"
_RENDER = "is not read: render it to a PNG of the size that you need"
_FRAMES = "is not read: save its frames as pictures first (ffmpeg does)"

# Bytes, where they lie, what such a file is called (a raw file needs no name) and what to do about it.
_KINDS: tuple[tuple[bytes, int, str, str], ...] = (
    (b"FUJIFILMCCD-RAW", 0, "", DEVELOP), (b"IIU\0", 0, "", DEVELOP), (b"IIRO", 0, "", DEVELOP),
    (b"IIRS", 0, "", DEVELOP), (b"MMOR", 0, "", DEVELOP), (b"FOVb", 0, "", DEVELOP), (b"\0MRM", 0, "", DEVELOP),
    (b"ftypcrx ", 4, "", DEVELOP), (b"CR\x02", 8, "", DEVELOP),
    (b"\xff\x0a", 0, "JPEG XL", _CONVERT), (b"\0\0\0\x0cJXL ", 0, "JPEG XL", _CONVERT),
    (b"II\xbc\x01", 0, "JPEG XR", _CONVERT), (b"gimp xcf", 0, "GIMP's XCF", _CONVERT),
    (b"v/1\x01", 0, "OpenEXR", _FLOATS), (b"#?RADIANCE", 0, "Radiance HDR", _FLOATS),
    (b"#?RGBE", 0, "Radiance HDR", _FLOATS),
    (b"DICM", 128, "DICOM", _MICROSCOPE), (b"ZISRAWFILE", 0, "Zeiss's CZI", _MICROSCOPE),
    (b"\xda\xce\xbe\x0a", 0, "Nikon's ND2", _MICROSCOPE), (b"p\0\0\0", 0, "Leica's LIF", _MICROSCOPE),
    (b"n+1\0", 344, "NIfTI", _MICROSCOPE), (b"\x89HDF\r\n\x1a\n", 0, "HDF5", _MICROSCOPE),
    (b"%PDF", 0, "PDF", _RENDER), (b"%!PS", 0, "PostScript", _RENDER), (b"<svg", 0, "SVG", _RENDER),
    (b"ftypisom", 4, "a video", _FRAMES), (b"ftypmp4", 4, "a video", _FRAMES), (b"ftypqt  ", 4, "a video", _FRAMES),
    (b"\x1aE\xdf\xa3", 0, "a video", _FRAMES), (b"AVI ", 8, "a video", _FRAMES),
    (b"\x93NUMPY", 0, "an array of NumPy", "is not read: load it, and give it to usrnet.restore"),
    (b"<!DOCTYPE html", 0, "a page of the web", "is no picture: was it saved instead of one?"),
    (b"<html", 0, "a page of the web", "is no picture: was it saved instead of one?"),
)  # fmt: skip


def refuse_foreign(data: bytes, name: str) -> None:
    """Raise ``PictureError`` for the content of a file of a kind that is known, but not read."""
    for magic, place, kind, advice in _KINDS:
        if data[place : place + len(magic)] == magic:
            raise PictureError(f"{name} {advice}" if not kind else f"{name}: {kind} {advice}")
