from itertools import pairwise

import numpy as np
import pytest
import tifffile

from usrnet import io
from usrnet.errors import PictureError, UsrnetWarning
from usrnet.io import tiff
from usrnet.restoration import Restorer, files, observe, restore_file


def pixels(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Smooth waves with some noise on them."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: shape[0], : shape[1]] / 9
    values = (2 + np.sin(y) + np.cos(x + y / 3)) / 4
    values = values.reshape(*values.shape, *[1] * (len(shape) - 2)) * rng.uniform(0.6, 1, shape)
    return values.astype(dtype) if dtype == "float32" else (values * np.iinfo(dtype).max).astype(dtype)


KINDS = {
    "strips": {"compression": "zlib", "rowsperstrip": 7},
    "tiles": {"compression": "zlib", "tile": (16, 32)},
    "plain tiles": {"tile": (32, 16)},
    "one strip": {},
    "big-endian": {"byteorder": ">"},
    "big-endian tiles": {"byteorder": ">", "tile": (16, 16), "compression": "zlib"},
    "predictor": {"compression": "zlib", "predictor": True, "rowsperstrip": 5},
}


def save(path, array, **options):
    order = options.pop("byteorder", None)
    colour = array.ndim == 3 and array.shape[2] >= 3
    extra = ["unassalpha"] if array.ndim == 3 and array.shape[2] in (2, 4) else None
    with tifffile.TiffWriter(path, byteorder=order) as writer:
        writer.write(
            array, photometric="rgb" if colour else "minisblack", extrasamples=extra, metadata=None,
            planarconfig="contig" if array.ndim == 3 else None, **options,
        )  # fmt: skip
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_rows_of_every_kind(tmp_path, kind, channels, dtype):
    if dtype == "float32" and kind == "predictor":
        pytest.skip("tifffile cannot write it without imagecodecs")
    array = pixels((53, 45, *channels), dtype)
    with tiff.TiffRows(save(tmp_path / "a.tif", array, **KINDS[kind])) as rows:
        assert (rows.shape, rows.dtype, rows.pages) == (array.shape, array.dtype, 1)
        for start, stop in ((0, 53), (0, 1), (52, 53), (6, 8), (13, 40), (50, 99)):
            part = rows[start:stop]
            assert part.dtype == array.dtype
            np.testing.assert_array_equal(part, array[start:stop])


@pytest.mark.parametrize("shape", [(600, 300), (256, 512, 3), (1, 257, 4), (300, 40, 2)])
def test_strips_of_any_height_are_written(tmp_path, shape):
    array = pixels(shape, "uint16")
    cuts = [0, *sorted({shape[0] // 7, shape[0] // 2, shape[0]} - {0})]
    strips = (array[a:b] for a, b in pairwise(cuts))
    tiff.write(tmp_path / "a.tif", strips, shape=shape, dtype=array.dtype, icc_profile=b"profile")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    read = io.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(read.pixels, array)
    assert read.icc_profile == b"profile"


@pytest.fixture
def large(monkeypatch):
    """Every TIFF counts as large."""
    monkeypatch.setattr(files, "LARGE_BYTES", 0)


@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)])
@pytest.mark.parametrize("scale", [1, 2])
def test_by_rows_gives_what_memory_gives(tmp_path, monkeypatch, channels, scale):
    source = save(tmp_path / "a.tif", pixels((70, 50, *channels), "uint16"), tile=(16, 16), compression="zlib")
    restorer = Restorer("tv", tile=32)
    restore_file(restorer, source, tmp_path / "memory.tif", observe(scale=scale))
    monkeypatch.setattr(files, "LARGE_BYTES", 0)

    def no(*_, **__):
        raise AssertionError("the picture was read as a whole")

    with monkeypatch.context() as patch:
        patch.setattr(io, "read", no)
        restore_file(restorer, source, tmp_path / "rows.tif", observe(scale=scale))
    one, two = (io.read(tmp_path / f"{name}.tif").pixels for name in ("memory", "rows"))
    np.testing.assert_array_equal(one, two)


def test_other_kinds_go_through_memory(tmp_path, large):
    array = pixels((40, 30), "uint16")
    save(tmp_path / "a.tif", array, compression="zlib", rowsperstrip=40)
    with pytest.raises(PictureError, match="cannot be read by rows"):
        tiff.TiffRows(tmp_path / "a.tif")
    restore_file(Restorer("tv"), tmp_path / "a.tif", tmp_path / "b.tif", observe(scale=1))
    assert io.read(tmp_path / "b.tif").pixels.shape == (40, 30)


def test_bad_files(tmp_path, large):
    restorer = Restorer("tv")
    (tmp_path / "a.tif").write_bytes(b"II*\0 but no more of a TIFF")
    with pytest.raises(PictureError, match=r"a\.tif"):
        restore_file(restorer, tmp_path / "a.tif", tmp_path / "out.tif", observe(scale=1))
    save(tmp_path / "b.tif", pixels((300, 300), "uint16"), compression="zlib", rowsperstrip=10)
    whole = (tmp_path / "b.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(whole[:20_000] + bytes(1000) + whole[21_000:])
    with pytest.raises(PictureError, match=r"b\.tif: the picture is damaged"):
        restore_file(restorer, tmp_path / "b.tif", tmp_path / "out.tif", observe(scale=1))
    array = pixels((300, 300), "float32")
    array[-1, -1] = np.nan
    save(tmp_path / "c.tif", array, rowsperstrip=10)
    with pytest.raises(PictureError, match="not finite"):
        restore_file(restorer, tmp_path / "c.tif", tmp_path / "out.tif", observe(scale=1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "b.tif", "c.tif"]


def test_further_pages_are_named(tmp_path, large):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for _ in range(2):
            writer.write(pixels((40, 30), "uint16"), rowsperstrip=8, metadata=None)
    with pytest.warns(UsrnetWarning, match="2 pages, only the first is used"):
        restore_file(Restorer("tv"), tmp_path / "a.tif", tmp_path / "b.tif", observe(scale=1))
