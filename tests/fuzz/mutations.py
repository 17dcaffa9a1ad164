"""Files bent as chance has it: bytes, and the fields that readers believe (tags, chunks with their sums, cards).

``mutate`` draws everything from the generator that it is given, so that a number leads back to the same file.
"""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Rng = np.random.Generator
_NUMBERS = (0, 1, 2, 3, 7, 8, 16, 32, 127, 128, 255, 256, 257, 4096, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1,
            2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)  # fmt: skip
_WORDS = (
    b"nan",
    b"inf",
    b"-1",
    b"1e999",
    b"0",
    b"",
    b"-",
    b",",
    b";",
    b".",
    b"\0",
    b"9" * 30,
    b"9" * 5000,
    b"1e-320",
    b"99999",
    b"65536",
    b"0x10",
    b"T",
    b"'x'",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"[" * 3000,
    b"(",
    b"#",
    b":",
    b"\n",
)


def mutate(data: bytes, others: Sequence[bytes], rng: Rng) -> bytes:
    """``data`` with one to four changes; ``others``: files of the kind to splice with."""
    for _ in range(1 + int(rng.geometric(0.5)) % 4):
        ways: list[Callable[[bytes, Rng], bytes]] = [*_GENERIC, *([_structure(data)] * 8)]
        way = ways[int(rng.integers(len(ways)))]
        if rng.random() < 0.05 and others:
            other = others[int(rng.integers(len(others)))]
            data = data[: int(rng.integers(len(data) + 1))] + other[int(rng.integers(len(other) + 1)) :]
            continue
        try:
            data = way(data, rng) or b"\0"
        except (ValueError, IndexError, struct.error, zlib.error, zipfile.BadZipFile, EOFError, NotImplementedError):
            data = _bytes(data, rng) or b"\0"  # bent so far that its structure is lost
    return data


def _pick(rng: Rng, items: Sequence[Any]) -> Any:
    return items[int(rng.integers(len(items)))]


def _number(rng: Rng, bits: int) -> int:
    value = int(rng.integers(2**16)) if rng.random() < 0.3 else _pick(rng, _NUMBERS)
    return value % 2**bits


# Bytes


def _bytes(data: bytes, rng: Rng) -> bytes:
    bent = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        if bent:
            bent[int(rng.integers(len(bent)))] = int(rng.integers(256))
    return bytes(bent)


def _bit(data: bytes, rng: Rng) -> bytes:
    bent = bytearray(data)
    place = int(rng.integers(len(bent)))
    if rng.random() < 0.5:
        place = place % min(len(bent), 256)  # headers
    bent[place] ^= 1 << int(rng.integers(8))
    return bytes(bent)


def _field(data: bytes, rng: Rng) -> bytes:
    size = int(_pick(rng, (1, 2, 4, 4, 8)))
    value = _number(rng, 8 * size).to_bytes(size, _pick(rng, ("little", "big")))
    place = int(rng.integers(max(1, min(len(data), 512) if rng.random() < 0.7 else len(data))))
    return data[:place] + value + data[place + size :]


def _cut(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.integers(len(data) + 1))]


def _move(data: bytes, rng: Rng) -> bytes:
    """A piece taken out, doubled, or put elsewhere."""
    first, last = sorted(int(place) for place in rng.integers(len(data) + 1, size=2))
    last = min(last, first + 600)
    piece, rest = data[first:last], data[:first] + data[last:]
    place = int(rng.integers(len(rest) + 1))
    return (rest, data[:last] + piece + data[last:], rest[:place] + piece + rest[place:])[int(rng.integers(3))]


_GENERIC = (_bytes, _bit, _field, _cut, _move)

# Structures


def _structure(data: bytes) -> Callable[[bytes, Rng], bytes]:
    for magic, way in (
        (b"\x89PNG\r\n\x1a\n", _png), (b"\xff\xd8", _jpeg), (b"RIFF", _riff), (b"SIMPLE  =", _cards), (b"II", _tiff),
        (b"MM", _tiff), (b"\x93NUMPY", _npy), (b"PK\x03\x04", _zip), (b"MATLAB 5.0", _mat), (b"icns", _field),
    ):  # fmt: skip
        if data.startswith(magic):
            return way
    if data[4:8] in (b"ftyp", b"jP  "):
        return _boxes
    text = sum(byte in b"\t\n\r" or 32 <= byte < 127 for byte in data[:200])
    return _words if text > 0.9 * len(data[:200]) or data[:1] == b"P" else _field


def _png(data: bytes, rng: Rng) -> bytes:
    chunks, place = [], 8
    while place + 8 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    index = int(rng.integers(len(chunks)))
    name, content = chunks[index]
    way = rng.random()
    if way < 0.1:
        del chunks[index]
    elif way < 0.2:
        chunks.insert(int(rng.integers(len(chunks) + 1)), (name, content))
    elif way < 0.3:
        other = _pick(rng, (b"tRNS", b"PLTE", b"gAMA", b"cHRM", b"eXIf", b"iCCP", b"tEXt", b"iTXt", b"acTL", b"fcTL"))
        chunks.insert(1, (other, bytes(rng.integers(256, size=int(rng.integers(40)), dtype=np.uint8))))
    elif name == b"IHDR" and way < 0.8 and len(content) >= 13:
        field = int(rng.integers(7))
        value = (
            _number(rng, 32).to_bytes(4, "big") if field < 2 else bytes([int(_pick(rng, (0, 1, 2, 3, 4, 6, 8, 16)))])
        )
        start = 4 * field if field < 2 else 6 + field
        chunks[index] = (name, content[:start] + value + content[start + len(value) :])
    elif name in (b"IDAT", b"fdAT") or (name in (b"iCCP", b"zTXt") and b"\0" in content):
        start = {b"IDAT": 0, b"fdAT": 4}.get(name, content.find(b"\0") + 2)
        plain = zlib.decompress(content[start:])
        plain = plain + bytes(2**24) if rng.random() < 0.1 else _pick(rng, _GENERIC)(plain, rng)
        chunks[index] = (name, content[:start] + zlib.compress(plain))
    else:
        chunks[index] = (name, _inner(content, rng) if content else b"\1")
    parts = [data[:8]]
    for name, content in chunks:
        total = zlib.crc32(name + content) ^ (rng.random() < 0.05)
        length = len(content) if rng.random() < 0.98 else _number(rng, 32)
        parts.append(struct.pack(">I", length) + name + content + struct.pack(">I", total))
    return b"".join(parts)


def _inner(content: bytes, rng: Rng) -> bytes:
    """A part of a file that may be a structure itself, such as an EXIF block."""
    start = 6 if content[:6] == b"Exif\0\0" else 0
    way = _tiff if content[start : start + 2] in (b"II", b"MM") else _pick(rng, _GENERIC)
    return content[:start] + way(content[start:], rng)


def _jpeg(data: bytes, rng: Rng) -> bytes:
    segments, place = [], 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xDA:
        (length,) = struct.unpack(">H", data[place + 2 : place + 4])
        segments.append((data[place + 1], data[place + 4 : place + 2 + length]))
        place += 2 + length
    index = int(rng.integers(len(segments)))
    marker, content = segments[index]
    way = rng.random()
    if way < 0.1:
        del segments[index]
    elif way < 0.2:
        segments.insert(int(rng.integers(len(segments) + 1)), (marker, content))
    elif way < 0.3:
        segments[index] = (
            int(_pick(rng, (0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xC9, 0xDB, 0xDD, 0xE1, 0xE2, 0xED))),
            content,
        )
    elif 0xC0 <= marker <= 0xC2 and way < 0.7:
        field = int(rng.integers(1, 5))
        segments[index] = (marker, content[:field] + _number(rng, 16).to_bytes(2, "big") + content[field + 2 :])
    else:
        segments[index] = (marker, _inner(content, rng))
    parts = [data[:2]]
    for marker, content in segments:
        parts.append(struct.pack(">BBH", 0xFF, marker, (len(content) + 2) % 65536) + content)
    return b"".join(parts) + data[place:]


def _riff(data: bytes, rng: Rng) -> bytes:
    parts, place = [], 12
    while place + 8 <= len(data):
        (length,) = struct.unpack("<I", data[place + 4 : place + 8])
        parts.append((data[place : place + 4], data[place + 8 : place + 8 + length]))
        place += 8 + length + length % 2
    index = int(rng.integers(len(parts)))
    name, content = parts[index]
    if rng.random() < 0.15:
        parts.insert(int(rng.integers(len(parts) + 1)), (name, content))
    elif rng.random() < 0.15:
        del parts[index]
    else:
        parts[index] = (name, _inner(content, rng) if content else b"")
    body = b"".join(
        name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2) for name, content in parts
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


_BOXES = re.compile(
    rb"ftyp|meta|hdlr|pitm|iloc|iinf|infe|iprp|ipco|ispe|pixi|av1C|hvcC|colr|ipma|iref|mdat|jp2h|ihdr|jp2c|moov|trak"
    rb"|stsz|stco|irot|imir|clap|auxC|Exif|\xff\x4f\xff\x51|\xff\x52|\xff\x5c|\xff\x90"
)


def _boxes(data: bytes, rng: Rng) -> bytes:
    """A field of a box of an ISO file (HEIF, AVIF, JPEG 2000), found by its name."""
    found = _pick(rng, list(_BOXES.finditer(data)))
    place = found.end() + int(rng.integers(-12, 50))
    size = int(_pick(rng, (1, 1, 2, 4)))
    place = min(max(place, 0), len(data) - 1)
    return data[:place] + _number(rng, 8 * size).to_bytes(size, "big") + data[place + size :]


def _cards(data: bytes, rng: Rng) -> bytes:
    """A card of 80 characters of a FITS header."""
    headers = [
        place for place in range(0, len(data) - 79, 80) if re.match(rb"[A-Z][A-Z0-9_-]* *=", data[place : place + 10])
    ]
    place = _pick(rng, headers)
    card = data[place : place + 80]
    way = rng.random()
    if way < 0.1:
        card = b"END".ljust(80)
    elif way < 0.2:
        other = _pick(rng, headers)
        return data[:place] + data[other : other + 80] + data[place + 80 :]
    elif way < 0.8:
        value = _pick(
            rng, (str(_number(rng, 40)).encode(), str(int(rng.integers(-70, 70))).encode(), _pick(rng, _WORDS))
        )
        card = (card[:10] + value[:60].rjust(20)).ljust(80)[:80]
    else:
        card = _bytes(card, rng)
    return data[:place] + card + data[place + 80 :]


_TAGS = (254, 255, 256, 257, 258, 259, 262, 270, 273, 274, 277, 278, 279, 282, 283, 284, 296, 305, 317, 320, 322,
         323, 324, 325, 330, 332, 338, 339, 347, 529, 530, 532, 700, 32997, 32998, 33550, 33922, 34264, 34377, 34665,
         34675, 34735, 34853, 50706, 50838, 50839, 65420)  # fmt: skip
_COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 33007, 34712, 34887, 34892, 34925, 34933, 50000, 50001, 50002)


def _tiff(data: bytes, rng: Rng) -> bytes:
    """An entry of a directory of a TIFF, classic or big."""
    e = "<" if data[:2] == b"II" else ">"
    big = struct.unpack(e + "H", data[2:4])[0] == 43
    (offset,) = struct.unpack(e + ("Q" if big else "I"), data[8:16] if big else data[4:8])
    counts, entry, word, pointer = ("Q", 20, 8, "Q") if big else ("H", 12, 4, "I")
    width = struct.calcsize(counts)
    directories = []
    while 0 < offset < len(data) and offset not in directories and len(directories) < 9:
        directories.append(offset)
        (count,) = struct.unpack(e + counts, data[offset : offset + width])
        after = offset + width + entry * count
        (offset,) = struct.unpack(e + pointer, data[after : after + word])
    place = _pick(rng, directories)
    (count,) = struct.unpack(e + counts, data[place : place + width])
    if rng.random() < 0.05:  # where the next directory is
        after = place + width + entry * count
        target = int(_pick(rng, (*directories, _number(rng, 32))))
        return data[:after] + struct.pack(e + pointer, target) + data[after + word :]
    at = place + width + entry * int(rng.integers(max(1, count)))
    tag, kind = struct.unpack(e + "HH", data[at : at + 4])
    way = rng.random()
    if way < 0.15:
        new = struct.pack(e + "H", int(_pick(rng, _TAGS)))
    elif way < 0.25:
        new, at = struct.pack(e + "H", int(rng.integers(19))), at + 2
    elif way < 0.4:
        new, at = struct.pack(e + pointer, _number(rng, 8 * word)), at + 4
    else:
        choices = {259: _COMPRESSIONS, 262: (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 32803, 32844), 317: (1, 2, 3, 34892)}
        value = int(_pick(rng, choices[tag])) if tag in choices else _number(rng, 16 if kind == 3 else 8 * word)
        new, at = struct.pack(e + ("H" if kind == 3 else pointer), value), at + 4 + word
    return data[:at] + new + data[at + len(new) :]


def _words(data: bytes, rng: Rng) -> bytes:
    """A number or a separator of a text."""
    found = _pick(rng, list(re.finditer(rb"[-+.\w]+|[,; \t]|\r?\n", data)))
    return data[: found.start()] + _pick(rng, _WORDS) + data[found.end() if rng.random() < 0.8 else found.start() :]


def _npy(data: bytes, rng: Rng) -> bytes:
    if rng.random() < 0.3:
        return _pick(rng, _GENERIC)(data, rng)
    (length,) = struct.unpack("<H", data[8:10])
    header, content = data[10 : 10 + length], data[10 + length :]
    way = rng.random()
    if way < 0.4:
        sizes = ", ".join(
            str(_number(rng, 40) if rng.random() < 0.4 else int(rng.integers(5))) for _ in range(rng.integers(5))
        )
        header = re.sub(rb"\([^)]*\)", b"(" + sizes.encode() + b",)", header)
    elif way < 0.7:
        kinds = (
            b"<f8",
            b">f4",
            b"<f2",
            b"|O",
            b"<c16",
            b"|S9",
            b"<U3",
            b"<M8[D]",
            b"|V8",
            b"|b1",
            b"<i8",
            b">u2",
            b"|u1",
            b"f99",
        )
        header = re.sub(rb"'[<>|][^']*'", b"'" + _pick(rng, kinds) + b"'", header)
    else:
        header = _words(header, rng)
    header = header[:65535]
    return data[:8] + struct.pack("<H", len(header)) + header + content


def _zip(data: bytes, rng: Rng) -> bytes:
    """A member of an archive changed and packed again."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    index = int(rng.integers(len(members)))
    name, content = members[index]
    way = rng.random()
    if way < 0.1:
        members.append((name, content))
    elif way < 0.2:
        members[index] = (_pick(rng, ("x.txt", "../k.npy", "k", "kernel.npy")), content)
    elif way < 0.25:
        members[index] = (name, content + bytes(2**25))
    else:
        members[index] = (name, _npy(content, rng))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (name, content) in enumerate(members):
            archive.writestr(name if number == index else f"{number}{name}", content)
    return buffer.getvalue()


def _mat(data: bytes, rng: Rng) -> bytes:
    """A variable of a MATLAB file of version 5, unpacked, changed and packed again."""
    parts, place = [], 128
    while place + 8 <= len(data):
        kind, size = struct.unpack("<II", data[place : place + 8])
        content = data[place + 8 : place + 8 + size]
        parts.append((kind, zlib.decompress(content) if kind == 15 else content))
        place += 8 + size + (0 if kind == 15 else -size % 8)
    index = int(rng.integers(len(parts)))
    kind, content = parts[index]
    if kind == 15 and rng.random() < 0.05:
        content += bytes(2**25)
    else:
        content = _field(content, rng) if rng.random() < 0.6 else _pick(rng, _GENERIC)(content, rng)
    parts[index] = (kind, content)
    written = [data[:128]]
    for kind, content in parts:
        content = zlib.compress(content) if kind == 15 else content
        written.append(
            struct.pack("<II", kind, len(content)) + content + b"\0" * (0 if kind == 15 else -len(content) % 8)
        )
    return b"".join(written)
