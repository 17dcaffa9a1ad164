"""IPTC's old block of captions and credits (IPTC-IIM), as what it is in XMP, which more formats hold.

It lies in a JPEG's or TIFF's resources of Photoshop, in a tag of a TIFF, or in a text of a PNG.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import replace
from xml.sax.saxutils import escape

from usrnet.io.metadata import Metadata, readable

# Its fields and what they are in XMP, with the kind of list that XMP wants (IPTC Photo Metadata 2023)
_IN_XMP = {
    (2, 5): ("dc:title", "Alt"), (2, 120): ("dc:description", "Alt"), (2, 116): ("dc:rights", "Alt"),
    (2, 80): ("dc:creator", "Seq"), (2, 25): ("dc:subject", "Bag"), (2, 105): ("photoshop:Headline", ""),
    (2, 110): ("photoshop:Credit", ""), (2, 115): ("photoshop:Source", ""), (2, 40): ("photoshop:Instructions", ""),
    (2, 85): ("photoshop:AuthorsPosition", ""), (2, 90): ("photoshop:City", ""), (2, 95): ("photoshop:State", ""),
    (2, 101): ("photoshop:Country", ""), (2, 103): ("photoshop:TransmissionReference", ""),
    (2, 122): ("photoshop:CaptionWriter", ""), (2, 10): ("photoshop:Urgency", ""),
    (2, 15): ("photoshop:Category", ""), (2, 20): ("photoshop:SupplementalCategories", "Bag"),
    (2, 55): ("photoshop:DateCreated", ""), (2, 62): ("xmp:CreateDate", ""), (2, 65): ("xmp:CreatorTool", ""),
    (2, 92): ("Iptc4xmpCore:Location", ""), (2, 100): ("Iptc4xmpCore:CountryCode", ""),
}  # fmt: skip
_TIME_OF = {(2, 55): (2, 60), (2, 62): (2, 63)}  # days and hours are one value in XMP
_OF_THE_BLOCK = {(1, 0), (1, 90), (2, 0)}  # its versions and its character set say nothing of the picture
_SPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
}
_XMP_START = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
)
_XMP_END = b'</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
RESOURCE = 0x0404  # Photoshop's number of the block

Fields = dict[tuple[int, int], list[bytes]]


def with_iptc(metadata: Metadata, block: bytes | None, note: Callable[[str], None]) -> Metadata:
    """The metadata with what a block says in XMP. XMP's own word goes before; what has no place there is named."""
    try:
        found = _fields(block or b"")
    except (ValueError, struct.error):
        note("its IPTC block is broken and is left out")
        return metadata
    for day, hour in _TIME_OF.items():
        if found.get(day, [b""])[0] and hour in found:
            found[day] = [found[day][0] + found.pop(hour)[0]]
    if others := sorted(set(found) - set(_IN_XMP) - _OF_THE_BLOCK):
        named = ", ".join(f"{record}:{number:02d}" for record, number in others)
        note(f"its IPTC fields {named} are left out (XMP has no place for them)")
    return _with_texts(metadata, found, note)


def _with_texts(metadata: Metadata, found: Fields, note: Callable[[str], None]) -> Metadata:
    xmp = metadata.xmp or _XMP_START + _XMP_END
    before, end, after = xmp.rpartition(b"</rdf:RDF>")
    said = ""
    for number, (name, kind) in _IN_XMP.items():
        texts = [_text(value, number) for value in found.get(number, [])]
        if not any(texts) or name.encode() in xmp:
            continue
        inner = texts[0]
        if kind:
            language = ' xml:lang="x-default"' if kind == "Alt" else ""
            items = "".join(f"<rdf:li{language}>{text}</rdf:li>" for text in (texts[:1] if kind == "Alt" else texts))
            inner = f"<rdf:{kind}>{items}</rdf:{kind}>"
        said += f"<{name}>{inner}</{name}>"
    if not said:
        return metadata
    if not end:
        note("its IPTC texts are left out (its XMP block has no place for them)")
        return metadata
    spaces = " ".join(f'xmlns:{space}="{address}"' for space, address in _SPACES.items() if f"<{space}:" in said)
    part = f'<rdf:Description rdf:about="" {spaces}>{said}</rdf:Description>'
    return replace(metadata, xmp=before + part.encode() + end + after)


def _text(value: bytes, number: tuple[int, int]) -> str:
    """A text of IPTC, which is UTF-8 where it can be, for XML."""
    text = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "", readable(value.decode("latin-1"))).strip()
    return escape(_date(text) if number in _TIME_OF else text)


def _date(text: str) -> str:
    """20240701, and perhaps 120000+0200 behind it, as XMP writes it; what is not known of it is left away."""
    found = re.match(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)(?:([+-]\d\d)(\d\d))?)?", text)
    if found is None:
        return text
    year, month, day, hour, minute, second, zone, part = found.groups()
    date = "-".join(piece for piece in (year, month, day) if int(piece))
    if hour is None or date.count("-") < 2:
        return date
    return f"{date}T{hour}:{minute}:{second}" + (f"{zone}:{part}" if zone else "")


def _fields(block: bytes) -> Fields:
    """The fields of a block, each with its values. Raises ``ValueError`` or ``struct.error`` for a broken one."""
    if block.strip(b"\0") and not block.startswith(b"\x1c"):
        raise ValueError("no block of IPTC")
    found: Fields = {}
    place = 0
    while block[place : place + 1] == b"\x1c":
        record, number, size = struct.unpack_from(">BBH", block, place + 1)
        place += 5
        if size & 0x8000:  # as many bytes say the size
            width = size & 0x7FFF
            size = int.from_bytes(block[place : place + width], "big")
            place += width
        if place + size > len(block):
            raise ValueError("it ends early")
        found.setdefault((record, number), []).append(block[place : place + size])
        place += size
    return found


def in_photoshop(resources: bytes | None) -> bytes | None:
    """The block among the resources that Photoshop keeps in a TIFF or PNG; None where there is none."""
    place = 0
    while resources and resources[place : place + 4] == b"8BIM" and place + 12 <= len(resources):
        (number,) = struct.unpack_from(">H", resources, place + 4)
        place += 6 + (resources[place + 6] + 2) // 2 * 2  # a name of an odd length with the byte that says it
        size = int.from_bytes(resources[place : place + 4], "big")
        if number == RESOURCE:
            return resources[place + 4 : place + 4 + size]
        place += 4 + size + size % 2
    return None
