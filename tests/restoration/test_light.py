import struct

import numpy as np
import pytest
from PIL import Image, ImageCms
from scipy.signal import fftconvolve

from usrnet import kernels, metrics
from usrnet.errors import UsrnetError
from usrnet.restoration import Restorer, observe
from usrnet.restoration.light import SRGB, choose_curve, from_icc, power


def test_srgb_is_the_standard():
    # IEC 61966-2-1: 0.5 stored is 0.214 of the light; black and white are themselves.
    assert SRGB.decode(np.array([0, 0.5, 1.0])) == pytest.approx([0, 0.21404, 1], abs=1e-5)
    stored = np.linspace(-0.05, 1.2, 500)
    assert SRGB.encode(SRGB.decode(stored)) == pytest.approx(stored, abs=1e-7)
    assert SRGB.slope(np.array([0.01, 1.0])) == pytest.approx([1 / 12.92, 2.275], rel=0.01)


def test_the_curve_of_a_profile():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    curve = from_icc(srgb)
    assert curve is not None
    stored = np.linspace(0, 1, 256)
    assert curve.decode(stored) == pytest.approx(SRGB.decode(stored), abs=2e-4)
    assert curve.encode(curve.decode(stored)) == pytest.approx(stored, abs=1e-3)


def profile(tag: bytes) -> bytes:
    """An ICC profile with nothing but a red tone curve."""
    return bytes(128) + struct.pack(">I4sII", 1, b"rTRC", 144, len(tag)) + tag


def test_profiles_of_every_kind():
    stored = np.linspace(0, 1, 64)
    gamma = from_icc(profile(struct.pack(">4sIIH", b"curv", 0, 1, round(2.2 * 256))))
    table = from_icc(profile(struct.pack(">4sII3H", b"curv", 0, 3, 0, 16384, 65535)))
    linear = from_icc(profile(struct.pack(">4sII", b"curv", 0, 0)))
    para = from_icc(profile(struct.pack(">4sIHHi", b"para", 0, 0, 0, round(1.8 * 65536))))
    assert gamma is not None
    assert table is not None
    assert linear is not None
    assert para is not None
    assert gamma.decode(stored) == pytest.approx(stored**2.2, abs=1e-3)
    assert table.decode(np.array([0.5])) == pytest.approx(0.25, abs=1e-3)
    assert linear.decode(stored) == pytest.approx(stored)
    assert para.decode(stored) == pytest.approx(stored**1.8, abs=1e-3)
    for broken in (b"", bytes(200), profile(b"para"), profile(struct.pack(">4sII3H", b"curv", 0, 3, 9, 5, 1))):
        assert from_icc(broken) is None
    assert from_icc(profile(struct.pack(">4sIIH", b"curv", 0, 1, 0))) is None  # light that is always white
    assert from_icc(profile(struct.pack(">4sIHH3i", b"para", 0, 1, 0, 65536, 0, 65536))) is None


def test_the_slope_of_a_table_holds_to_its_ends():
    """The profile that most photos carry is sRGB's curve as a table."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    curve, stored = from_icc(srgb), np.array([0, 0.3, 1], np.float32)
    assert curve is not None
    assert curve.slope(stored) == pytest.approx(SRGB.slope(stored), rel=2e-3)


def test_auto_is_linear_for_cameras_and_lenses_alone():
    def chosen(**options):
        settled = observe(**options).stored_as(camera=camera, icc_profile=None, gamma=None)
        return settled.light, settled.curve

    for camera in (True, False):
        assert chosen(kernel="disk:3") == (("linear", SRGB) if camera else ("stored", None))
        assert chosen(kernel="bicubic") == ("stored", None)
        assert chosen() == ("stored", None)  # the default kernel is made for what is stored
        assert chosen(kernel="disk:3", light="stored") == ("stored", None)
        assert chosen(light="linear") == ("linear", SRGB)
    assert choose_curve("linear", camera=False, icc_profile=None, gamma=1.0) is None
    assert choose_curve("linear", camera=False, icc_profile=None, gamma=0.5).name == "gamma 2"  # pyright: ignore[reportOptionalMemberAccess]
    with pytest.raises(UsrnetError, match="light"):
        observe(light="gamma")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("text", "noise", "gain"), [("motion:16", 1.5, 2), ("gaussian:2", 5, 0.7)])
def test_what_a_lens_blurred_is_better_restored_in_light(photo, text, noise, gain):
    """In 8-bit sRGB, with even noise in the stored values, which is what the noise level means."""
    kernel = kernels.parse(text)
    light = fftconvolve(SRGB.decode(photo[60:300, 60:300] / 255.0), kernel[..., None], mode="same", axes=(0, 1))
    stored = SRGB.encode(light.clip(0, 1)) + np.random.default_rng(0).normal(0, noise / 255, light.shape)
    picture = (stored.clip(0, 1) * 255).round().astype(np.uint8)[24:-24, 24:-24]
    truth = photo[84:276, 84:276]
    restorer = Restorer("default", precision="fp32")
    values = {
        light: metrics.psnr(
            restorer(picture, scale=1, kernel=kernel, noise_level=noise, light=light, saturation="off"), truth
        )
        for light in ("linear", "stored")
    }
    assert values["linear"] > values["stored"] + gain


def test_a_flat_grey_stays_what_it_is():
    restorer = Restorer("tv")
    for curve in ("linear", "stored"):
        out = restorer(np.full((24, 30), 90, np.uint8), scale=2, kernel="gaussian:1", light=curve)
        assert np.abs(out.astype(int) - 90).max() <= 1


def test_a_phone_picture_is_restored_in_light(tmp_path, photo):
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    exif.get_ifd(0x8769)[0x829A] = 0.01
    picture = Image.fromarray(photo[:64, :64])
    picture.save(tmp_path / "a.jpg", exif=exif.tobytes())
    opened = Image.open(tmp_path / "a.jpg")
    restorer = Restorer("tv")
    auto, linear, stored = (
        np.asarray(restorer(opened, scale=1, kernel="disk:2", light=light)) for light in ("auto", "linear", "stored")
    )
    assert (auto == linear).all()
    assert (auto != stored).any()


def test_power():
    assert power(2.0).decode(np.array([0.5, -0.1])) == pytest.approx([0.25, 0])
