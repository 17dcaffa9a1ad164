"""FITS, astronomy's format: whole numbers with an offset, floats, the first row at the bottom.

In memory the first row is at the top as everywhere else; the file is turned back on writing.
"""

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from usrnet.errors import PictureError, UsrnetError, require
from usrnet.io.metadata import Metadata

if TYPE_CHECKING:
    from usrnet.io.decode import Picture

_LAYOUT = {
    "SIMPLE", "BITPIX", "NAXIS", "EXTEND", "BZERO", "BSCALE", "BLANK", "PCOUNT", "GCOUNT", "XTENSION", "GROUPS",
    "DATAMIN", "DATAMAX", "CHECKSUM", "DATASUM", "END",
}  # fmt: skip


def _astropy(name: str) -> Any:
    try:
        return require("astropy.io.fits", extra="science")
    except UsrnetError as error:
        raise PictureError(f"{name}: {error}") from error


def read(data: bytes, name: str, check: Callable[[int, int], None], note: Callable[[str], None]) -> "Picture":
    """The first picture of a FITS file, in counts or floats as the header scales them. Raises ``PictureError``."""
    from usrnet.io.decode import Picture

    planes, metadata = read_planes(data, name, check)
    if len(planes) > 1:
        note(f"{len(planes)} planes, only the first is used (--all-pages takes all)")
    return Picture(planes[0], metadata)


def read_planes(data: bytes, name: str, check: Callable[[int, int], None]) -> tuple[np.ndarray, Metadata]:
    """All planes N×H×W of the first extension that holds a picture. Raises ``PictureError``."""
    module = _astropy(name)
    with module.open(BytesIO(data), memmap=False, lazy_load_hdus=True) as units:
        for unit in units:
            header = unit.header
            if not unit.is_image or header.get("NAXIS", 0) < 2:
                continue
            sides = [int(header[f"NAXIS{axis + 1}"]) for axis in range(header["NAXIS"])]
            if min(sides) < 1:
                continue
            check(sides[0], int(np.prod(sides[1:])))
            values = np.asarray(unit.data)
            planes = values.reshape(-1, *values.shape[-2:])[:, ::-1]
            planes = np.ascontiguousarray(planes, planes.dtype.newbyteorder("="))
            return planes, Metadata(fits_header=kept_header(header), description=None)
    raise PictureError(f"{name}: there is no picture in this FITS file")


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
    unit = module.PrimaryHDU(np.ascontiguousarray(values), header)
    buffer = BytesIO()
    unit.writeto(buffer, output_verify="silentfix+ignore")
    return buffer.getvalue()


def _ascii(text: str) -> str:
    """What a FITS card can hold."""
    return " ".join(text.encode("ascii", "replace").decode().split())
