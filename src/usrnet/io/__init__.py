"""Pictures in and out: EXIF orientation, alpha, grey, 16 bits, float, ICC profiles.

In memory a picture is an array H×W (grey), H×W×2 (grey and alpha), H×W×3 or H×W×4, uint8, uint16 or float32.
Restoring works on its planes: colour H×W×{1,3} and alpha H×W, float32 in [0,1].
"""

from usrnet.io.adapt import from_any, to_any
from usrnet.io.decode import DEFAULT_MAX_PIXELS, SUFFIXES, Picture, check_size, read, read_rgb
from usrnet.io.encode import FORMATS, write
from usrnet.io.planes import Planes, bleed, enlarge_nearest, join, split, upscale_alpha
from usrnet.io.provenance import read_provenance

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "FORMATS",
    "SUFFIXES",
    "Picture",
    "Planes",
    "bleed",
    "check_size",
    "enlarge_nearest",
    "from_any",
    "join",
    "read",
    "read_provenance",
    "read_rgb",
    "split",
    "to_any",
    "upscale_alpha",
    "write",
]
