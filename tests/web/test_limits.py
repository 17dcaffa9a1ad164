"""What the page allows, asked through its HTTP interface."""

import http.client
import urllib.parse

import numpy as np
import pytest
import tifffile
from PIL import Image

from usrnet.kernels.files import SUFFIXES

FILE = "my own kernel file"


def picture_of(kind: str, path, *, height: int, width: int):
    """A black picture; the last kind goes through memory by rows where its result is large."""
    path = path / f"large.{'tif' if kind.startswith('tif') else kind}"
    if kind == "tif, 16 bits":
        tifffile.imwrite(path, np.zeros((height, width), np.uint16), compression="zlib", rowsperstrip=height)
    elif kind == "tif, by rows":
        black = np.zeros((height, width, 3), np.uint8)
        tifffile.imwrite(path, black, compression="zlib", rowsperstrip=64, photometric="rgb")
    else:
        Image.fromarray(np.zeros((height, width), np.uint8)).save(path)
    return path


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tif", "tif, 16 bits", "tif, by rows"])
def test_pictures_of_every_kind_have_at_most_24_megapixels(server, tmp_path, kind):
    picture = server.upload(picture_of(kind, tmp_path, height=4001, width=6001))
    message = "6001\\u00d74001 pixels are more than the limit of 24000000 of this page"
    assert message in server.call("preview", picture, 50, 50, scale=4)
    assert message in server.call("restore_all", picture, scale=4)


def status_of(address: str, path: str, headers: dict[str, str]) -> int:
    """The answer to a request whose body is not even sent."""
    connection = http.client.HTTPConnection(urllib.parse.urlparse(address).netloc, timeout=30)
    try:
        connection.putrequest("POST", path)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


def test_requests_are_refused_by_their_length(page):
    assert status_of(page, "/gradio_api/upload", {"Content-Length": str(202 * 2**20)}) == 413
    assert status_of(page, "/gradio_api/call/preview", {"Content-Length": str(2 * 2**20)}) == 413
    assert status_of(page, "/gradio_api/upload", {"Transfer-Encoding": "chunked"}) == 411


@pytest.mark.parametrize("suffix", [suffix for suffix in ("png", "tif") if f".{suffix}" in SUFFIXES])
def test_a_large_kernel_is_refused_before_it_is_decoded(server, tmp_path, suffix):
    path = tmp_path / f"psf.{suffix}"
    Image.fromarray(np.ones((6000, 6000), np.uint8)).save(path, compression="tiff_lzw" if suffix == "tif" else None)
    kernel = server.upload(path)
    with server.growth_mb() as grown:
        answer = server.call("describe", None, blur=FILE, kernel_file=kernel)
    assert "a kernel of 6000\\u00d76000 pixels is too large" in answer
    assert grown[0] < 100


@pytest.mark.parametrize(
    ("side", "message"),
    [(600, "a kernel of 600\\u00d7600 pixels is too large"), (1100, "9 MB are more than the 8 MB")],
)
def test_large_kernels_of_other_kinds(server, tmp_path, side, message):
    path = tmp_path / "psf.npy"
    np.save(path, np.ones((side, side)))
    kernel = server.upload(path)
    assert message in server.call("describe", None, blur=FILE, kernel_file=kernel)


def test_a_kernel_of_the_largest_size_is_taken(server, picture, tmp_path):
    path = tmp_path / "psf.npy"
    np.save(path, np.ones((512, 3)))
    kernel = server.upload(path)
    answer = server.call("describe", server.upload(picture), blur=FILE, kernel_file=kernel)
    assert "--kernel psf.npy" in answer
