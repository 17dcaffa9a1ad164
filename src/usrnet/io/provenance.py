"""How a result was made, as a text that it carries: in PNG a text chunk, in FITS its history, in GIF a comment,
elsewhere the EXIF or TIFF tag *Software*.

Read from the header alone, whatever the size of the picture.
"""

import struct
import warnings
import zlib
from pathlib import Path

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
KEYWORD = b"usrnet"  # of the PNG chunk
SOFTWARE = 0x0131  # EXIF and TIFF tag
PREFIX = "usrnet "  # before the text in the tag


def png_chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG, with its length and checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def read_provenance(path: Path) -> str | None:
    """The text that a result of ours carries; None for any other file, and for one that cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
        if start == PNG_MAGIC:
            return _in_png(path)
        if start == b"SIMPLE  ":
            return _after_prefix(_in_fits(path))
        tag = _in_tiff(path) if start[:2] in (b"II", b"MM") else _in_exif(path)
    except Exception:  # whatever a foreign or damaged file makes a decoder stumble over
        return None
    return _after_prefix(tag)


def _after_prefix(tag: str) -> str | None:
    return tag.removeprefix(PREFIX) if tag.startswith(PREFIX) else None


def _in_fits(path: Path) -> str:
    """The last history that begins as ours; a long one is cut into cards of 72 characters."""
    found = ""
    with path.open("rb") as file:
        while (card := file.read(80)) and not card.startswith(b"END ") and file.tell() < 2**20:
            if card.startswith(b"HISTORY "):
                text = card[8:].decode("ascii", "replace")
                found = text if text.startswith(PREFIX) else found + text
    return found.rstrip()


def _in_png(path: Path) -> str | None:
    with path.open("rb") as file:
        file.seek(8)
        while True:
            length, kind = struct.unpack(">I4s", file.read(8))
            if kind == b"IDAT":
                return None
            if kind == b"tEXt" and length < 2**16:
                keyword, _, text = file.read(length).partition(b"\0")
                if keyword == KEYWORD:
                    return text.decode("latin-1")
                file.seek(4, 1)
            else:
                file.seek(length + 4, 1)


def _in_tiff(path: Path) -> str:
    import tifffile

    with tifffile.TiffFile(path) as file:
        return str(file.pages.first.tags.valueof(SOFTWARE, default=""))


def _in_exif(path: Path) -> str:
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            comment = image.info.get("comment", b"") if image.format == "GIF" else b""
            return comment.decode("latin-1") or str(image.getexif().get(SOFTWARE, ""))
