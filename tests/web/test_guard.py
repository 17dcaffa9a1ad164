"""What others may not do: the page fetches nothing, and its errors name no folders."""

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from usrnet.errors import UsrnetError
from usrnet.web.guard import told

FILE = "my own kernel file"
ELSEWHERE = [
    "http://usrnet.invalid/photo.png",
    "https://huggingface.co/photo.png",  # Gradio trusts this one
    "http://127.0.0.1:9/photo.png",
]


def outgoing(server) -> list[str]:
    """What the page's process connected to, itself and its browser apart."""
    port = server.address.rpartition(":")[2]
    return [line for line in server.connections().splitlines() if port not in line]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_picture_given_as_an_address_is_not_fetched(server, url):
    before = outgoing(server)
    file = {"path": url, "meta": {"_type": "gradio.FileData"}}
    for answer in (
        server.call("preview", file, 50, 50),
        server.call("restore_all", file),
        server.call("describe", None, blur=FILE, kernel_file=file),
        server.call("describe", None, scale=file),  # where no file belongs
        server.call("describe", None, model=[{"deep": file}]),
    ):
        assert "nothing is fetched from other machines: upload the file" in answer
    assert outgoing(server) == before


@pytest.mark.parametrize("url", ELSEWHERE)
@pytest.mark.parametrize("route", ["file=", "proxy=", "file%3D"])
def test_files_of_other_machines_are_not_served(server, url, route):
    before = outgoing(server)
    for text in (url, url.replace("h", "%68", 1), url.replace("://", "%3A%2F%2F")):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{server.address}/gradio_api/{route}{text}")
        assert caught.value.code in (403, 404)
        caught.value.close()
    assert outgoing(server) == before


def test_errors_name_no_folders(server, tmp_path):
    text, nested = tmp_path / "text.png", "inside/x.png"
    text.write_text("not a picture")
    uploaded = server.upload(text)
    kernel = tmp_path / "psf.txt"
    kernel.write_text("no numbers")
    answers = [
        server.call("preview", uploaded, 50, 50),
        server.call("restore_all", uploaded),
        server.call("describe", None, blur=FILE, kernel_file=server.upload(kernel)),
        server.call("describe", None, blur=FILE, kernel_file=server.upload(text), kernel_number=3),
        server.call("preview", {"path": nested, "meta": {"_type": "gradio.FileData"}}, 50, 50),
        server.call("preview", {"path": str(server.folder), "meta": {"_type": "gradio.FileData"}}, 50, 50),
        server.call("preview", {"path": uploaded["path"], "meta": None}, 50, 50),
        server.call("preview", uploaded, 50, "a"),
        server.call("describe", None, scale=[1]),
        server.call("describe", None, width="wide"),
        server.call("describe", None, model="other"),
    ]
    for answer in answers:
        assert "event: error" in answer
        assert str(server.home) not in answer.replace(f'"{server.folder}"', "")
        assert str(Path.cwd()) not in answer
        assert "Traceback" not in answer
    assert "text.png: not a picture" in answers[0]
    assert "psf.txt: " in answers[2]


def test_what_nobody_foresaw_is_said_in_one_sentence(tmp_path, capsys):
    @told(tmp_path)
    def fails(error: Exception) -> None:
        raise error

    with pytest.raises(Exception, match="something went wrong here") as caught:
        fails(RuntimeError(f"{tmp_path}/secret"))
    assert str(tmp_path) not in str(caught.value)
    assert f"RuntimeError: {tmp_path}/secret" in capsys.readouterr().err
    with pytest.raises(Exception, match=r"^'?my photo\.png: damaged"):
        fails(UsrnetError(f"{tmp_path}/0a1b/my photo.png: damaged"))
