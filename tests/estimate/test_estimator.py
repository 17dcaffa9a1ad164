import json
import math
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw

import usrnet
from usrnet import io, kernels
from usrnet.errors import UsrnetError, UsrnetWarning
from usrnet.estimate import Estimate, estimate, estimate_file, estimate_parts, masks
from usrnet.restoration import DEFAULT_WIDTHS
from usrnet.restoration.light import SRGB

RNG = np.random.default_rng(0)


def sensible(found: Estimate, *, scale: int) -> None:
    """Whatever the picture is: a kernel, numbers, sentences, and JSON that holds them."""
    assert kernels.check(found.kernel) is not None
    assert 0 <= found.noise_level <= 255
    assert 0 <= found.confidence <= 1
    assert all(math.isfinite(width) and width >= 0 for width in found.widths)
    assert all(isinstance(note, str) and note for note in found.notes)
    record = json.loads(json.dumps(found.record()))
    assert record["scale"] == scale
    assert record["kernel"] is None or kernels.parse(record["kernel"], scale).shape == found.kernel.shape


def text_picture() -> np.ndarray:
    image = Image.new("L", (200, 160), 255)
    draw = ImageDraw.Draw(image)
    for row in range(10):
        draw.text((5, 5 + 15 * row), "which kernel and which noise do I give?", fill=0)
    return np.asarray(image)


def screenshot() -> np.ndarray:
    image = Image.new("RGB", (240, 200), (240, 240, 240))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 240, 30), fill=(40, 60, 90))
    for i in range(6):
        draw.rectangle((10, 40 + 25 * i, 230 - 20 * i, 58 + 25 * i), outline=(90, 90, 90), fill=(255, 255, 255))
        draw.text((15, 42 + 25 * i), f"entry {i} of a list", fill=(20, 20, 20))
    return np.asarray(image)


def drawing() -> np.ndarray:
    image = Image.new("RGB", (200, 200), (250, 220, 120))
    draw = ImageDraw.Draw(image)
    for i in range(8):
        draw.ellipse((10 * i, 8 * i, 100 + 10 * i, 90 + 12 * i), outline=(0, 0, 0), fill=(30 * i, 200 - 20 * i, 120))
    return np.asarray(image)


NOTHING = {
    "black": np.zeros((100, 120, 3), np.uint8),
    "white": np.full((100, 120), 255, np.uint8),
    "one colour": np.full((90, 90, 3), 77, np.uint8),
    "a pixel": np.full((1, 1, 3), 7, np.uint8),
    "a line": RNG.integers(0, 256, (1, 300), dtype=np.uint8),
    "20 by 20": RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8),
    "clear": np.dstack([RNG.integers(0, 256, (80, 80, 3), dtype=np.uint8), np.zeros((80, 80), np.uint8)]),
    "pure noise": (128 + 10 * RNG.normal(size=(128, 128, 3))).clip(0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("name", NOTHING)
@pytest.mark.parametrize("scale", [1, 4])
def test_where_nothing_can_be_seen_the_defaults_come_with_a_sentence(name, scale):
    found = estimate(NOTHING[name], scale=scale)
    sensible(found, scale=scale)
    assert found.confidence == 0
    assert found.widths == (DEFAULT_WIDTHS[scale],) * 2
    assert found.notes


@pytest.mark.parametrize("make", [text_picture, screenshot, drawing])
@pytest.mark.parametrize("scale", [1, 3])
def test_what_is_drawn_is_said_to_be(make, scale):
    found = estimate(make(), scale=scale)
    sensible(found, scale=scale)
    assert found.confidence <= 0.5
    assert any("drawn" in note for note in found.notes)


def test_pure_noise_is_measured():
    found = estimate(NOTHING["pure noise"], scale=2)
    assert found.noise_level == pytest.approx(10, rel=0.1)


def test_a_frame_is_not_looked_at(photo):
    small = usrnet.degrade(photo, "gaussian:1.4", scale=2, noise_level=3)
    framed = np.zeros((300, 280, 3), np.uint8)
    framed[50:242, 40:232] = small
    plain, inside = estimate(small, scale=2), estimate(framed, scale=2)
    sensible(inside, scale=2)
    assert inside.widths == pytest.approx(plain.widths, rel=0.02)
    assert inside.noise_level == pytest.approx(plain.noise_level, rel=0.02)


def test_twelve_bits_in_sixteen(photo):
    small = usrnet.degrade(photo, "gaussian:1.4", scale=2, noise_level=3)
    deep = (small.astype(np.uint16) * 16).clip(0, 4095)
    plain = estimate(small, scale=2)
    with pytest.warns(UsrnetWarning, match="6.23% of the range"):
        dim = estimate(deep, scale=2)
    sensible(dim, scale=2)
    assert dim.widths == pytest.approx(plain.widths, rel=0.1)
    assert dim.noise_level == pytest.approx(plain.noise_level / 16, rel=0.2)
    assert any("range" in note for note in dim.notes)


@pytest.mark.parametrize("frame", [None, 0, 65535])
def test_eight_bits_in_sixteen(photo, frame):
    small = usrnet.degrade(photo, "gaussian:1.4", scale=2, noise_level=3)
    deep = small.astype(np.uint16)
    if frame is not None:
        deep = np.pad(deep, ((20, 20), (20, 20), (0, 0)), constant_values=frame)
    plain = estimate(small, scale=2)
    dim = estimate_parts([deep], scale=2)
    sensible(dim, scale=2)
    assert dim.widths == pytest.approx(plain.widths, rel=0.05)
    assert dim.noise_level == pytest.approx(plain.noise_level / 257, rel=0.05)
    assert dim.confidence == pytest.approx(plain.confidence, abs=0.1)
    assert any("range" in note for note in dim.notes)


@pytest.mark.parametrize("value", [0, 3, 77, 65535])
def test_one_colour_in_sixteen_bits(value):
    found = estimate_parts([np.full((90, 90, 3), value, np.uint16)], scale=2)
    assert found.confidence == 0
    assert any("of one colour" in note for note in found.notes)


def test_floats_and_grey_and_alpha_are_the_same_picture(photo):
    small = usrnet.degrade(photo, "gaussian:1.4", scale=2, noise_level=3)
    plain = estimate(small, scale=2)
    for other in (
        (small / 255).astype(np.float32),
        np.dstack([small, np.full(small.shape[:2], 255, np.uint8)]),
        np.dstack([small, np.full(small.shape[:2], 90, np.uint8)]),
        Image.fromarray(small),
    ):
        found = estimate(other, scale=2)
        sensible(found, scale=2)
        assert found.widths == pytest.approx(plain.widths, rel=0.02)
    sensible(estimate(small[..., 0], scale=2), scale=2)


def test_a_large_picture_is_looked_at_in_parts(tmp_path):
    line = RNG.normal(size=1560).cumsum()
    large = ((line[:1540, None] + line) % 256).astype(np.uint8)
    found = estimate(large, scale=2)
    sensible(found, scale=2)
    tifffile.imwrite(tmp_path / "large.tif", large, rowsperstrip=16)
    again = estimate_file(tmp_path / "large.tif", scale=2)
    assert again.widths == found.widths
    assert again.noise_level == found.noise_level


def test_an_enlarged_picture_is_noticed(photo):
    small = Image.fromarray(photo[:150, :150])
    ways = Image.Resampling
    tried = [(2, ways.NEAREST), (2, ways.BILINEAR), (2, ways.BICUBIC), (2, ways.LANCZOS), (3, ways.BILINEAR)]
    for factor, resample in [*tried, (4, ways.BICUBIC)]:
        found = estimate(small.resize((150 * factor, 150 * factor), resample), scale=1)
        sensible(found, scale=1)
        assert any(f"enlarged by {factor}" in note for note in found.notes), found.notes
    assert not any("enlarged" in note for note in estimate(photo, scale=1).notes)


def test_a_sharp_photo_needs_no_deblurring(photo):
    found = estimate(photo, scale=1)
    sensible(found, scale=1)
    assert max(found.widths) <= 0.6


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_wider_blurs_are_found_wider_and_their_axis_is_found(photo, scale):
    widths = []
    for width in (0.5 * scale, 0.9 * scale):
        small = usrnet.degrade(photo, kernels.gaussian(width, 0.6 * width, 30, scale=scale), scale=scale)
        found = estimate(small, scale=scale)
        sensible(found, scale=scale)
        widths.append(math.sqrt(found.widths[0] * found.widths[1]))
        if width > 0.8 * scale:
            assert abs((found.degrees - 30 + 90) % 180 - 90) < 15
    assert widths[1] > 1.2 * widths[0]


def test_the_kernel_is_placed_for_the_scale(photo):
    small = usrnet.degrade(photo, "gaussian:2", scale=4)
    found = estimate(small, scale=4)
    rows = found.kernel.sum(axis=1)
    centre = (np.arange(len(rows)) * rows).sum() - len(rows) // 2
    assert centre == pytest.approx(-1.5, abs=0.01)


def test_a_jpeg_file_tells_its_steps(photo, tmp_path):
    blurred = usrnet.degrade(photo, "gaussian:1.2", scale=1, noise_level=4)
    path = tmp_path / "photo.jpg"
    Image.fromarray(blurred).save(path, quality=75)
    found = estimate_file(path, scale=1)
    sensible(found, scale=1)
    assert any("JPEG" in note for note in found.notes)
    with Image.open(path) as image:
        assert estimate(image, scale=1).noise_level == found.noise_level
    clean = usrnet.degrade(photo, "gaussian:1.2", scale=1).astype(float)
    real = np.sqrt(np.mean((io.read(path).pixels.astype(float) - clean) ** 2))
    assert found.noise_level == pytest.approx(real, rel=0.4)


def test_a_png_that_was_a_jpeg_is_noticed(photo):
    buffer = BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=80)
    with Image.open(buffer) as image:
        pixels = np.asarray(image)
    found = estimate(pixels, scale=1)
    note = next(note for note in found.notes if "JPEG" in note)
    assert abs(int(note.split("quality ")[1].split(" ")[0]) - 80) <= 5
    assert masks.former_jpeg(photo.mean(axis=2).round()) is None


def test_what_is_no_picture_is_an_error():
    with pytest.raises(UsrnetError):
        estimate(np.zeros(5))
    with pytest.raises(UsrnetError):
        estimate(np.zeros((9, 9), np.uint8), scale=5)


def test_a_scale_of_numpy_is_a_number(tmp_path):
    picture = np.zeros((8, 8), np.uint8)
    io.write(tmp_path / "a.png", io.Picture(picture))
    for found in (estimate(picture, scale=np.int64(3)), estimate_file(tmp_path / "a.png", scale=np.int64(3))):  # pyright: ignore[reportArgumentType]
        assert json.loads(json.dumps(found.record()))["scale"] == 3


def test_the_function_has_the_name_of_its_package(photo):
    assert usrnet.estimate(photo[:64, :64], scale=1).scale == 1


def test_auto_restores_as_the_estimate_says(photo):
    small = usrnet.degrade(photo[:128, :128], "gaussian:1.3", scale=2, noise_level=4)
    found = estimate(small, scale=2)
    automatic = usrnet.restore(small, model="tv", scale=2, kernel="auto", noise_level="auto")
    by_hand = usrnet.restore(small, model="tv", scale=2, kernel=found.kernel, noise_level=found.noise_level)
    assert (automatic == by_hand).all()


def test_the_command_line(photo, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    from usrnet.cli import main

    small = usrnet.degrade(photo[:160, :160], "gaussian:1.3", scale=2, noise_level=4)
    io.write(tmp_path / "a.png", io.Picture(small))
    io.write(tmp_path / "b.png", io.Picture(small[:40, :50]))

    def run(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["usrnet", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 0
        return capsys.readouterr().out

    record = json.loads(run("estimate", str(tmp_path / "a.png"), "--json", "-o", str(tmp_path / "k.npy")))
    assert set(record) == {
        "input", "scale", "kernel", "noise_level", "widths", "degrees", "confidence", "notes"
    }  # fmt: skip
    assert kernels.load(tmp_path / "k.npy") == pytest.approx(kernels.parse(record["kernel"], 2))
    lines = run(
        "restore", str(tmp_path), "-o", str(tmp_path / "out"), "--model", "tv", "--kernel", "auto", "--noise", "auto",
        "--json",
    ).splitlines()  # fmt: skip
    records = [json.loads(line) for line in lines]
    assert [Path(one["input"]).name for one in records] == ["a.png", "b.png"]
    assert all(one["kernel"] == "auto" for one in records)
    assert records[0]["estimate"] == {key: value for key, value in record.items() if key != "input"}
    assert records[1]["estimate"] != records[0]["estimate"]


def test_who_knows_the_kernel_is_told_the_noise_alone(photo, tmp_path: Path, capsys, monkeypatch):
    from usrnet.cli import main

    small = usrnet.degrade(photo[:160, :160], "motion:5", scale=2, noise_level=4)
    Image.fromarray(small).save(tmp_path / "a.jpg", quality=70)

    def run(*options: str) -> str:
        arguments = ["usrnet", "restore", str(tmp_path / "a.jpg"), "--model", "tv", "--overwrite", *options]
        monkeypatch.setattr("sys.argv", arguments)
        with pytest.raises(SystemExit):
            main()
        return capsys.readouterr().err

    known = run("--kernel", "motion:5", "--noise", "auto")
    assert ": noise " in known
    assert "JPEG compression hides the noise" in known
    assert "blur" not in known
    assert "confidence" not in known
    assert ": blur " in run("--kernel", "auto", "--noise", "auto")


def test_the_options_that_are_printed_are_those_of_auto(photo, tmp_path: Path, capsys, monkeypatch):
    from usrnet.cli import main

    sharp = usrnet.degrade(photo[:160, :160], "gaussian:1.5", scale=1)
    io.write(tmp_path / "a.png", io.Picture(sharp))
    assert estimate(sharp, scale=1).noise_level < 1
    monkeypatch.setattr("sys.argv", ["usrnet", "estimate", str(tmp_path / "a.png"), "--scale", "1"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out.splitlines()[1].endswith("--noise 1.0")


def test_blur_is_looked_for_in_the_light_in_which_a_picture_is_restored(photo):
    light = SRGB.decode(photo.astype(np.float32) / 255)
    blurred = usrnet.degrade(light, "gaussian:2.4", scale=2)
    stored = (255 * SRGB.encode(blurred)).round().clip(0, 255).astype(np.uint8)
    in_light, as_stored = (estimate(stored, scale=2, light=light) for light in ("linear", "stored"))
    assert in_light.noise_level == as_stored.noise_level
    assert in_light.widths[0] == pytest.approx(2.4, rel=0.2)
    assert in_light.widths != as_stored.widths

    image = Image.fromarray(stored)
    exif = image.getexif()
    exif[0x010F] = "a maker"
    exif.get_ifd(0x8769)[0x829A] = (1, 60)
    buffer = BytesIO()
    image.save(buffer, "PNG", exif=exif)
    with Image.open(buffer) as taken:
        assert estimate(taken, scale=2).widths == in_light.widths
        automatic = usrnet.restore(taken, model="tv", scale=2, kernel="auto", noise_level=2)
        by_hand = usrnet.restore(taken, model="tv", scale=2, kernel=in_light.kernel, noise_level=2, light="linear")
    assert (np.asarray(automatic) == np.asarray(by_hand)).all()
    assert estimate(stored, scale=2).widths == as_stored.widths


def test_what_a_tiff_names_as_missing_is_not_looked_at(photo, tmp_path):
    blurred = usrnet.degrade(photo[:256, :256], "gaussian:1.5", scale=1)
    expected = usrnet.estimate(blurred, scale=1)
    blurred = np.maximum(blurred, 1)
    blurred[:96, :160] = 0
    tifffile.imwrite(tmp_path / "a.tif", blurred, rowsperstrip=8, photometric="rgb",
                     extratags=[(42113, "s", 0, "0", True)])  # fmt: skip
    with pytest.warns(UsrnetWarning, match=r"are missing \(0\)"):
        found = estimate_file(tmp_path / "a.tif", scale=1)
    assert found.noise_level == pytest.approx(expected.noise_level, abs=0.5)


def test_what_is_left_out_beside_the_pixels_is_said_once(photo, tmp_path):
    """The parts of a TIFF are read by rows where that can be, by the other reader elsewhere, never by both."""
    unknown = b"\x1c\x02\x76\x00\x02me"  # a field of IPTC without a place in XMP
    tags = [(33723, "B", len(unknown), unknown, True)]
    tifffile.imwrite(tmp_path / "a.tif", photo[:128, :128] / np.float32(255), photometric="rgb", extratags=tags)
    with pytest.warns(UsrnetWarning) as notes:
        estimate_file(tmp_path / "a.tif", scale=1)
    assert [str(note.message).count("2:118") for note in notes].count(1) == 1
