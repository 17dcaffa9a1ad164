"""What a batch is to do, before any of it is done."""

import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from usrnet import io
from usrnet.batch.manifest import Manifest
from usrnet.batch.plan import Settings, plan_batch, read_settings
from usrnet.batch.ray import _job, _row, _still_to_do
from usrnet.errors import UsrnetError, UsrnetWarning
from usrnet.restoration import Unknown


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("a.png", "b.png", "deep/c.tif"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        io.write(folder / name, io.Picture(np.zeros((8, 9, 3), np.uint8)))
    return folder


def targets(source: str | Path, folder: str | Path, **more) -> list[str]:
    plan = plan_batch(str(source), str(folder), Settings(), **more)
    return sorted(task.target.removeprefix(f"{folder}/") for task in plan.tasks)


def test_folder_glob_picture_and_list(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert targets(photos, out) == ["a_x2.png", "b_x2.png"]
    assert targets(photos, out, recursive=True) == ["a_x2.png", "b_x2.png", "deep/c_x2.tif"]
    assert targets(photos / "*.png", out) == ["a_x2.png", "b_x2.png"]
    assert targets(photos / "a.png", out) == ["a_x2.png"]
    names = tmp_path / "names.txt"
    names.write_text(f"# mine\n{photos / 'b.png'}\n\n{photos / 'deep/c.tif'}\n")
    assert targets(names, out) == ["b_x2.png", "c_x2.tif"]


def test_names_as_find_writes_them(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    Path("names.txt").write_text("./a.png\na.png\n.//deep/c.tif\n")
    plan = plan_batch("names.txt", "out", Settings(), by_picture={"./a.png": Settings(3)})
    assert [(task.source, task.target) for task in plan.tasks] == [
        ("a.png", "out/a_x3.png"),
        ("deep/c.tif", "out/c_x2.tif"),
    ]


def test_what_is_doubtful_of_a_kernel_is_said_once(photos: Path, tmp_path: Path) -> None:
    np.save(photos / "psf.npy", np.ones((5, 5)))
    table = tmp_path / "settings.csv"
    table.write_text(f"picture,kernel\na.png,{photos / 'psf.npy'}\nb.png,{photos / 'psf.npy'}\n")
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", UsrnetWarning)
        own = read_settings(table, Settings.of_texts(2, str(photos / "psf.npy"), "2"))
        plan_batch(str(photos), str(tmp_path / "out"), Settings(), by_picture=own)
    assert [str(note.message).endswith("has the sum 25, scaled to 1") for note in notes] == [True]


def test_addresses(photos: Path, tmp_path: Path) -> None:
    source, out = photos.as_uri(), (tmp_path / "out").as_uri()
    assert targets(source, out) == ["a_x2.png", "b_x2.png"]
    assert targets(source, out, recursive=True) == ["a_x2.png", "b_x2.png", "deep/c_x2.tif"]
    assert targets(f"{source}/a.png", out) == ["a_x2.png"]
    assert targets(f"{source}/*.png", out) == ["a_x2.png", "b_x2.png"]


def test_settings_of_single_pictures(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "settings.csv"
    np.save(tmp_path / "psf.npy", np.ones((3, 3)) / 9)
    (tmp_path / "grid").mkdir()
    for name in "abcd":
        np.save(tmp_path / f"grid/{name}.npy", np.ones((3, 3)) / 9)
    table.write_text("picture,scale,kernel,noise\na.png,3,psf.npy:1,\nb.png,,grid,\ndeep/c.tif,,gaussian:2,7.5\n")
    own = read_settings(table, Settings())
    plan = plan_batch(str(photos), str(tmp_path / "out"), Settings(), by_picture=own, recursive=True)
    found = {Path(task.target).name: task.settings for task in plan.tasks}
    assert found["a_x3.png"] == Settings(3, f"{tmp_path / 'psf.npy'}:1", 2.0)
    assert found["b_x2.png"] == Settings(2, str(tmp_path / "grid"))
    assert found["c_x2.tif"] == Settings(2, "gaussian:2", 7.5)
    taps = plan.observations[found["a_x3.png"]].taps
    assert taps is not None
    assert taps.shape == (1, 3, 3)


def test_settings_that_are_found_in_the_picture(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "settings.csv"
    table.write_text('picture,kernel,noise\na.png,auto,auto\nb.png,"gaussian:2,1,30",auto\nc.tif,,"poisson:0.1,1"\n')
    own = read_settings(table, Settings.of_texts(3, "auto", "4"))
    assert own == {
        "a.png": Settings(3, "auto", "auto"),
        "b.png": Settings(3, "gaussian:2,1,30", "auto"),
        "c.tif": Settings(3, "auto", "poisson:0.1,1"),
    }
    plan = plan_batch(str(photos), str(tmp_path / "out"), Settings(3), by_picture=own, recursive=True)
    found = {task.settings: plan.observations[task.settings] for task in plan.tasks}
    unknown, measured = found[own["a.png"]], found[own["b.png"]]
    assert isinstance(unknown, Unknown)
    assert (unknown.taps, unknown.noise_level) == (None, None)
    assert measured.taps is not None
    assert measured.noise_level is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,scale\na.png,7\n", r"line 2: scale 7 is not supported"),
        ("picture,scale\na.png,two\n", r"line 2: scale 'two' is not a whole number from 1 to 4"),
        ("picture,scale\na.png,auto\n", r"line 2: scale 'auto' is not"),
        ("picture,noise\na.png,loud\n", r"line 2: noise 'loud' is not a number"),
        ("picture,kernel\na.png,gaussian:2,1,30\n", r"line 2: more fields than columns"),
        ("picture,kernel\na.png,gausian:2\n", r"line 2: kernel 'gausian:2' is not known"),
        ("picture,noise\na.png,999\n", r"line 2: noise level 999"),
        ("picture,noise\na.png,1\na.png,2\n", r"line 3: a\.png was there before"),
        ("picture,noise\n,1\n", r"line 2: no picture is named"),
        ("name,noise\na.png,1\n", r"must name the columns"),
        ("picture,blur\na.png,1\n", r"must name the columns"),
        ("", r"must name the columns"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "settings.csv"
    table.write_text(text)
    with pytest.raises(UsrnetError, match=message):
        read_settings(table, Settings())


def test_settings_of_pictures_that_are_not_there(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsrnetError, match=r"pictures that are not there: d\.png"):
        targets(photos, tmp_path / "out", by_picture={"a.png": Settings(3), "d.png": Settings(4)})


def test_places_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsrnetError, match="no pictures there"):
        targets(tmp_path, tmp_path / "out")
    with pytest.raises(UsrnetError, match="no pictures there"):
        targets(tmp_path.as_uri(), tmp_path / "out")
    with pytest.raises(UsrnetError, match=r"cannot be listed \(there is no such folder"):
        targets((tmp_path / "absent").as_uri(), tmp_path / "out")
    with pytest.raises(UsrnetError, match="nowhere:// cannot be read"):
        targets("nowhere://a/b", tmp_path / "out")
    with pytest.raises(UsrnetError, match="there is no such picture or folder"):
        targets(tmp_path / "absent", tmp_path / "out")
    with pytest.raises(UsrnetError, match="cannot read"):
        targets(tmp_path / "absent.txt", tmp_path / "out")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(UsrnetError, match="no pictures are listed"):
        targets(tmp_path / "empty.txt", tmp_path / "out")


class Refusing(BaseHTTPRequestHandler):
    """A store that lets nobody in without credentials."""

    def do_GET(self) -> None:
        self.send_error(403)

    do_HEAD = do_PUT = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    pytest.importorskip("aiohttp")  # fsspec reads http with it; Ray brings it along
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of aiohttp and fsspec
def test_an_address_without_credentials(photos: Path, tmp_path: Path, refusing: str) -> None:
    advice = "check the address, and this machine's credentials for it"
    for place in (f"{refusing}/photos", f"{refusing}/photos/*.png"):
        with pytest.raises(UsrnetError, match=rf"cannot be listed \(403.*Forbidden.*{advice}"):
            targets(place, tmp_path / "out")
    with pytest.raises(UsrnetError, match=r"out/manifest\.parquet: cannot be read \(403.*Forbidden"):
        Manifest(f"{refusing}/out")
    assert Manifest((tmp_path / "out").as_uri()).rows == {}


def test_two_pictures_of_one_name(photos: Path, tmp_path: Path) -> None:
    (photos / "a.bmp").write_bytes(b"")
    for source, out in ((photos, tmp_path / "out"), (photos.as_uri(), (tmp_path / "out").as_uri())):
        assert targets(source, out) == ["a_png_x2.png", "a_x2.png", "b_x2.png"]


def test_results_at_an_address_that_were_made_otherwise(photos: Path, tmp_path: Path) -> None:
    """As in a folder: what is there stays, whatever the manifest knows of it."""
    out = tmp_path / "out"
    out.mkdir()

    def rows(settings: Settings, *, known: bool, overwrite: bool = False) -> dict[str, tuple[str, str]]:
        """What is there of ``settings``, and why not; ``known``: the manifest has it, as made with the usual ones."""
        plan = plan_batch(photos.as_uri(), out.as_uri(), settings)
        manifest = Manifest(plan.folder)
        if known:
            usual = plan_batch(photos.as_uri(), out.as_uri(), Settings())
            manifest.add(_row(task, task.settings.recipe(usual.model), "written") for task in usual.tasks)
        before = dict(manifest.rows)
        todo = {task.target for task, _ in _still_to_do(plan, manifest, overwrite=overwrite)}
        assert not todo & {row.output for row in manifest.rows.values() if row != before.get(row.output)}
        return {Path(row.output).name: (row.status, row.error) for row in manifest.rows.values()} | {
            Path(target).name: ("todo", "") for target in todo
        }

    first = plan_batch(photos.as_uri(), out.as_uri(), Settings()).tasks[0]
    ours = io.Metadata(provenance=_job(first, first.settings.recipe("default")).recipe.text())
    io.write(out / "a_x2.png", io.Picture(np.zeros((16, 18, 3), np.uint8), ours))
    (out / "b_x2.png").write_bytes(b"mine")
    found = rows(Settings(), known=False)
    assert found["a_x2.png"] == ("skipped", "")
    assert found["b_x2.png"][0] == "failed"
    assert "out/b_x2.png: already there but not made by usrnet, left alone: --overwrite" in found["b_x2.png"][1]
    assert {status for status, _ in rows(Settings(), known=True).values()} == {"written"}
    for known in (False, True):
        status, reason = rows(Settings(noise_level=9.0), known=known)["a_x2.png"]
        assert status == "failed"
        assert reason.startswith((out / "a_x2.png").as_uri())
        assert "already there but made otherwise (noise level 2.0), left alone: --overwrite replaces it" in reason
    assert {status for status, _ in rows(Settings(noise_level=9.0), known=False, overwrite=True).values()} == {"todo"}
    (out / "a_x2.png").unlink()
    assert rows(Settings(), known=True)["a_x2.png"] == ("todo", "")


def test_a_kernel_of_the_same_name_that_is_another(photos: Path, tmp_path: Path) -> None:
    """The manifest of an earlier run knows what was in the file, not only what it was called."""
    out, kernel = tmp_path / "out", tmp_path / "k.npy"
    out.mkdir()
    np.save(kernel, np.full((3, 3), 1 / 9))
    settings = Settings(kernel=str(kernel))
    plan = plan_batch(photos.as_uri(), out.as_uri(), settings)
    manifest = Manifest(plan.folder)
    for task in plan.tasks:
        job = _job(task, task.settings.recipe(plan.model))
        made = io.Metadata(provenance=job.recipe.text())
        io.write(out / Path(task.target).name, io.Picture(np.zeros((16, 18, 3), np.uint8), made))
        manifest.add([_row(task, job.recipe, "written")])
    assert _still_to_do(plan, manifest, overwrite=False) == []
    assert {row.status for row in manifest.rows.values()} == {"written"}
    np.save(kernel, np.full((5, 5), 1 / 25))
    again = plan_batch(photos.as_uri(), out.as_uri(), settings)
    assert _still_to_do(again, manifest, overwrite=False) == []
    assert all("from another kernel of this name" in row.error for row in manifest.rows.values())


def test_manifests_of_earlier_versions_are_read(photos: Path, tmp_path: Path) -> None:
    plan = plan_batch(str(photos), str(tmp_path / "out"), Settings())
    manifest = Manifest(plan.folder)
    manifest.add(_row(task, task.settings.recipe(plan.model), "written") for task in plan.tasks)
    manifest.write()
    table = pq.read_table(manifest.address)
    pq.write_table(table.drop_columns(["contents"]), manifest.address)
    assert Manifest(plan.folder).rows.keys() == manifest.rows.keys()
    pq.write_table(table.drop_columns(["kernel"]), manifest.address)
    with pytest.raises(UsrnetError, match="is no manifest of ours"):
        Manifest(plan.folder)
