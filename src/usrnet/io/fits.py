"""FITS, astronomy's format: whole numbers with an offset, floats, the first row at the bottom.

In memory the first row is at the top as everywhere else; the file is turned back on writing.
"""

import math
import re
import struct
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from usrnet.errors import PictureError, UsrnetError, require
from usrnet.io.gaps import value_of
from usrnet.io.metadata import Metadata

if TYPE_CHECKING:
    from usrnet.io.decode import Picture

_LAYOUT = {
    "SIMPLE", "BITPIX", "NAXIS", "EXTEND", "BZERO", "BSCALE", "BLANK", "PCOUNT", "GCOUNT", "XTENSION", "GROUPS",
    "DATAMIN", "DATAMAX", "CHECKSUM", "DATASUM", "NEXTEND", "INHERIT", "END",
}  # fmt: skip
_WORLD = re.compile(
    r"(WCSAXES|WCSNAME|CRPIX\d|CRVAL\d|CDELT\d|CTYPE\d|CUNIT\d|CROTA\d|(CD|PC|PV|PS)\d+_\d+)[A-Z]?|[AB]P?_\w+"
)
_MOST_NAMES = 6
_WHOLE = {8: np.dtype(np.uint8), 16: np.dtype(np.int16), 32: np.dtype(np.int32)}  # what floats hold exactly
_CARD = 80  # bytes of a line of a header
_MOST = 999  # axes, columns; the format allows no more
_MOST_UNITS = 1000
_COUNT = re.compile(rb"(Z?NAXIS[0-9]*|TFIELDS|ZTILE[0-9]+|[ZPG]+COUNT) *= *([^ /]+)")
_EXPONENTS = bytes.maketrans(b"Dd", b"ee")


def _astropy(name: str) -> Any:
    try:
        return require("astropy.io.fits", extra="science")
    except UsrnetError as error:
        raise PictureError(f"{name}: {error}") from error


def read(data: bytes, name: str, check: Callable[[int, int], None], note: Callable[[str], None]) -> "Picture":
    """The first picture of a FITS file, in counts or floats as the header scales them. Raises ``PictureError``."""
    from usrnet.io.decode import Picture

    planes, metadata = read_planes(data, name, check, note)
    if len(planes) > 1:
        note(f"{len(planes)} planes, only the first is used (--all-pages takes all)")
    return Picture(planes[0], metadata)


def read_planes(
    data: bytes, name: str, check: Callable[[int, int], None], note: Callable[[str], None] = lambda text: None
) -> tuple[np.ndarray, Metadata]:
    """All planes N×H×W of the first extension that holds a picture, with a note where there are further ones.

    What the header of the file says beside the extension's own is kept too. Raises ``PictureError``.
    """
    module = _astropy(name)
    _check_counts(data, name)
    with module.open(BytesIO(data), memmap=False, lazy_load_hdus=True) as units:
        for place, unit in enumerate(units):
            if place >= _MOST_UNITS:
                break
            sides = _sides(unit)
            if not sides:
                continue
            check(sides[0], math.prod(sides[1:]))
            if isinstance(unit, module.CompImageHDU):
                with module.open(BytesIO(data), memmap=False, disable_image_compression=True) as tables:
                    _check_streams(tables[place], name)
            stored = unit.header.copy()  # reading the pixels changes it
            values, missing = _with_blank(np.asarray(unit.data), stored)
            planes = values.reshape(-1, *values.shape[-2:])[:, ::-1]
            planes = np.ascontiguousarray(planes, planes.dtype.newbyteorder("="))
            header = kept_header(unit.header)
            if place:
                header.extend(_beside(units[0].header, header), unique=True, bottom=True)
            _say_others(units, place, note)
            return planes, Metadata(fits_header=header, description=None, missing=missing)
    raise PictureError(f"{name}: there is no picture in this FITS file")


def _with_blank(values: np.ndarray, header: Any) -> tuple[np.ndarray, float | None]:
    """Pixels as astropy reads them, and the one of their values that means missing.

    Of whole numbers with ``BLANK`` astropy makes floats with NaN; where the numbers are not scaled they become whole
    again, so that the result is of the same type.
    """
    blank, bits, zero = header.get("BLANK"), header["BITPIX"], header.get("BZERO", 0)
    if isinstance(blank, bool) or not isinstance(blank, int) or bits < 0:
        return values, None
    if values.dtype.kind == "f":
        whole = _WHOLE.get(bits)
        if whole is None or zero or header.get("BSCALE", 1) != 1 or (missing := value_of(blank, whole)) is None:
            if blank == 0:  # which astropy takes for none
                values = np.where(values == values.dtype.type(zero), np.nan, values).astype(values.dtype)
            return values, None
        return np.where(np.isnan(values), missing, values).astype(whole), missing
    return values, value_of(blank + int(zero), values.dtype)


def _sides(unit: Any) -> list[int]:
    """Width, height and further lengths of the picture that an extension holds; empty when it holds none."""
    header = unit.header
    if not unit.is_image or header.get("NAXIS", 0) < 2:
        return []
    sides = [int(header[f"NAXIS{axis + 1}"]) for axis in range(header["NAXIS"])]
    return sides if min(sides) > 0 else []


def _beside(primary: Any, own: Any) -> Any:
    """The header of a file for the header ``own`` of a picture in it, which keeps to its own world coordinates."""
    kept = kept_header(primary)
    if any(_WORLD.fullmatch(card) for card in own):
        for card in [card for card in kept if _WORLD.fullmatch(card)]:
            kept.remove(card, ignore_missing=True, remove_all=True)
    return kept


def _say_others(units: Any, first: int, note: Callable[[str], None]) -> None:
    """A note on the pictures of a file, unless the one at ``first``, which is used, is the only one."""
    names = []
    try:
        for place, unit in enumerate(units):
            if place >= _MOST_UNITS:
                break
            if place >= first and _sides(unit):
                names.append(unit.name or f"extension {place}")
    except Exception:  # what is damaged behind the picture costs nothing but its own mention
        pass
    if len(names) > 1:
        listed = ", ".join(names[:_MOST_NAMES]) + (" …" if len(names) > _MOST_NAMES else "")
        note(f"{len(names)} pictures ({listed}), only the first is used")


def _check_counts(data: bytes, name: str) -> None:
    """Refuse numbers of axes, columns and bytes that are none: astropy would count for ever or take gigabytes."""
    for found in _COUNT.finditer(data):
        if found.start() % _CARD:
            continue
        try:
            value = float(found[2].translate(_EXPONENTS))
        except ValueError:
            value = -1
        if not 0 <= value < math.inf or (value > _MOST and found[1] in (b"NAXIS", b"ZNAXIS", b"TFIELDS")):
            card = found[0].decode("ascii", "replace")
            raise PictureError(f"{name}: the picture is damaged ({' '.join(card.split())})")


def _check_streams(packed: Any, name: str) -> None:
    """Refuse tiles whose compressed stream says another size than the header: the decoders write beyond their memory.

    ``packed``: the table that holds the tiles.
    """
    header = packed.header
    held = sum(np.asarray(stream).nbytes for stream in packed.data["COMPRESSED_DATA"])
    if held > int(header.get("PCOUNT", 0)):
        raise PictureError(f"{name}: the picture is damaged ({held} bytes of tiles where there are fewer)")
    kind = str(header.get("ZCMPTYPE", "")).strip()
    if kind not in ("HCOMPRESS_1", "PLIO_1"):
        return
    axes = range(int(header["ZNAXIS"]), 0, -1)
    shape = np.array([int(header[f"ZNAXIS{axis}"]) for axis in axes])
    tile = np.array([int(header.get(f"ZTILE{axis}", shape[-1] if axis == 1 else 1)) for axis in axes])
    if (tile < 1).any():
        raise PictureError(f"{name}: the picture is damaged (tiles without pixels)")
    grid = -(-shape // tile)
    for row, column in enumerate(packed.data["COMPRESSED_DATA"]):
        stream = np.asarray(column)
        if row >= grid.prod() or not stream.size:
            continue
        stream = stream.astype(stream.dtype.newbyteorder("=")).tobytes()
        size = np.minimum(tile, shape - np.array(np.unravel_index(row, tuple(grid))) * tile)
        if kind == "HCOMPRESS_1":
            good = len(stream) >= 10 and math.prod(struct.unpack(">ii", stream[2:10])) == size.prod()
        else:
            words = np.frombuffer(stream[: len(stream) // 2 * 2], np.int16)
            good = len(words) > 4 and _plio_fits(words)
        if not good:
            raise PictureError(f"{name}: the picture is damaged (tile {row + 1} is of another size)")


def _plio_fits(words: np.ndarray) -> bool:
    """Whether a list of pixels (the format of IRAF) begins and ends within its words, as its header says."""
    old = words[2] > 0  # the header has three words, of which the last is the length of the list
    length = int(words[2]) if old else (int(words[4]) << 15) + int(words[3])
    return 0 < length <= len(words) and (old or 0 < words[1] <= length)


def kept_header(header: Any) -> Any:
    """The header without what says how the pixels are stored."""
    kept = header.copy(strip=True)
    for card in list(kept):
        if card in _LAYOUT or card.startswith("NAXIS"):
            kept.remove(card, ignore_missing=True, remove_all=True)
    return kept


def encode(planes: np.ndarray, metadata: Metadata, name: str) -> bytes:
    """H×W, or N×H×W for several planes, as the bytes of a FITS file. Raises ``PictureError``."""
    module = _astropy(name)
    values = planes[..., ::-1, :]
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    if values.dtype == np.int8:
        values = values.astype(np.int16)
    header = metadata.fits_header
    if header is None:
        header = module.Header()
        if metadata.description:
            header["COMMENT"] = _ascii(metadata.description)
    else:
        header = header.copy()
    if metadata.made_with:
        header.add_history(_ascii(metadata.made_with))
    missing = metadata.missing
    if missing is not None and values.dtype.kind == "f":  # BLANK is for whole numbers
        values = np.where(values == missing, values.dtype.type(np.nan), values)
    unit = module.PrimaryHDU(np.ascontiguousarray(values), header)
    if missing is not None and values.dtype.kind in "iu":
        unit.header["BLANK"] = int(missing) - int(unit.header.get("BZERO", 0))
    buffer = BytesIO()
    unit.writeto(buffer, output_verify="silentfix+ignore")
    return buffer.getvalue()


def _ascii(text: str) -> str:
    """What a FITS card can hold."""
    return " ".join(text.encode("ascii", "replace").decode().split())
