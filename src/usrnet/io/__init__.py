"""Pictures in and out: orientation, alpha, bands, 16 bits, floats, full scale, and what lies beside the pixels.

In memory a picture is an array H×W (grey), H×W×2 (grey and alpha), H×W×3 or H×W×4. ``read`` gives uint8, uint16 or
float32 in the unit range; ``read_whole`` what the file has. Restoring works on planes: colour H×W×{1,3} and alpha
H×W, float32 in the unit range.
"""

from usrnet.io.adapt import Given, from_any, to_any
from usrnet.io.decode import (
    DEFAULT_MAX_PIXELS,
    SUFFIXES,
    Picture,
    check_size,
    levels_of,
    plain,
    read,
    read_rgb,
    read_whole,
)
from usrnet.io.encode import FORMATS, check_target, kind_of, note_what_is_lost, result_of, result_suffix, write
from usrnet.io.levels import Levels, White, full_scale, parse_white
from usrnet.io.metadata import Metadata, PixelSize
from usrnet.io.planes import Planes, bleed, enlarge_nearest, groups, has_alpha, join, split, together, upscale_alpha
from usrnet.io.provenance import read_provenance

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "FORMATS",
    "SUFFIXES",
    "Given",
    "Levels",
    "Metadata",
    "Picture",
    "PixelSize",
    "Planes",
    "White",
    "bleed",
    "check_size",
    "check_target",
    "enlarge_nearest",
    "from_any",
    "full_scale",
    "groups",
    "has_alpha",
    "join",
    "kind_of",
    "levels_of",
    "note_what_is_lost",
    "parse_white",
    "plain",
    "read",
    "read_provenance",
    "read_rgb",
    "read_whole",
    "result_of",
    "result_suffix",
    "split",
    "to_any",
    "together",
    "upscale_alpha",
    "write",
]
