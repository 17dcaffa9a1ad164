"""A batch on a cluster of this machine: what is written, what is recorded, and what a kill leaves behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import usrnet
from usrnet import io
from usrnet.errors import UsrnetError

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # a cluster takes some ten seconds to start and end
PATIENCE = 800  # seconds, on a machine that has other things to do


@pytest.fixture
def photos(tmp_path: Path, photo: np.ndarray) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(6):
        part = photo[8 * index : 8 * index + 40, 100:148]
        io.write(folder / f"p{index}.png", io.Picture(np.ascontiguousarray(part)))
    (folder / "q.png").write_bytes(b"no picture")
    return folder


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "usrnet", "batch", *map(str, arguments), "--workers", "2", "--precision", "fp32"]


def batch(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=PATIENCE, check=False)


def rows(folder: Path) -> dict[str, dict]:
    return {Path(row["input"]).name: row for row in pq.read_table(folder / "manifest.parquet").to_pylist()}


def test_a_folder(photos: Path, tmp_path: Path) -> None:
    table, out = tmp_path / "settings.csv", tmp_path / "out"
    table.write_text("picture,scale,kernel,noise\np1.png,1,gaussian:1.2,4\n")
    done = batch(photos, out, "--kernel", "gaussian:0.9", "--settings", table)
    assert done.returncode == 1, done.stderr  # of the file that is no picture
    assert done.stderr.count("q.png") == 1, done.stderr
    assert "6 of 7 pictures are there" in done.stderr
    assert {path.name for path in out.iterdir()} == {
        "manifest.parquet", "p1_x1.png", *(f"p{index}_x2.png" for index in (0, 2, 3, 4, 5)),
    }  # fmt: skip
    found = rows(out)
    assert found["q.png"]["status"] == "failed"
    assert "q.png" in found["q.png"]["error"]
    assert {found[f"p{index}.png"]["status"] for index in range(6)} == {"written"}
    assert (found["p1.png"]["scale"], found["p1.png"]["kernel"], found["p1.png"]["noise_level"]) == (
        1,
        "gaussian:1.2",
        4,
    )
    assert len({row["worker"] for row in found.values()}) == 2
    expected = usrnet.restore(io.read(photos / "p3.png").pixels, kernel="gaussian:0.9", precision="fp32")
    np.testing.assert_array_equal(io.read(out / "p3_x2.png").pixels, expected)

    # Run again: what is there is left alone, what was spoiled is done again.
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("p*.png")}
    (out / "p0_x2.png").unlink()
    again = batch(photos, out, "--kernel", "gaussian:0.9", "--settings", table)
    assert again.returncode == 1, again.stderr
    assert (out / "p0_x2.png").exists(), again.stderr
    changed = {path.name for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp}
    assert changed == {"p0_x2.png"}
    assert len(rows(out)) == 7


def test_addresses(photos: Path, tmp_path: Path) -> None:
    (photos / "q.png").unlink()
    out = tmp_path / "out"
    done = batch(photos.as_uri(), out.as_uri(), "--scale", "1")
    assert done.returncode == 0, done.stderr
    expected = usrnet.restore(io.read(photos / "p2.png").pixels, scale=1, precision="fp32")
    np.testing.assert_array_equal(io.read(out / "p2_x1.png").pixels, expected)
    stamp = (out / "p2_x1.png").stat().st_mtime_ns
    assert batch(photos.as_uri(), out.as_uri(), "--scale", "1").returncode == 0
    assert (out / "p2_x1.png").stat().st_mtime_ns == stamp


@pytest.fixture
def many(tmp_path: Path, photo: np.ndarray) -> Path:
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(24):
        part = photo[4 * index : 4 * index + 120, 100:260]
        io.write(folder / f"p{index:02}.png", io.Picture(np.ascontiguousarray(part)))
    return folder


@pytest.mark.parametrize("victim", ["worker", "driver"])
def test_a_kill_costs_nothing_but_time(many: Path, tmp_path: Path, victim: str) -> None:
    out = tmp_path / "out"
    driver = subprocess.Popen(command(many, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _wait_for(lambda: len(list(out.glob("p*.png"))) >= 3, driver)
    if victim == "driver":
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        before = len(list(out.glob("p*.png")))
        assert before < 24
        _wait_for(lambda: not _workers(), None)  # Ray ends what has lost its driver
        done = batch(many, out)
    else:
        os.kill(_workers()[0], signal.SIGKILL)
        text = driver.communicate(timeout=PATIENCE)
        done = subprocess.CompletedProcess(driver.args, driver.returncode, *text)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        "manifest.parquet",
        *(f"p{i:02}_x2.png" for i in range(24)),
    ]
    assert {row["status"] for row in rows(out).values()} <= {"written", "skipped"}
    assert len(rows(out)) == 24
    undisturbed = usrnet.Restorer(precision="fp32")
    for index in range(24):
        expected = undisturbed(io.read(many / f"p{index:02}.png").pixels)
        np.testing.assert_array_equal(io.read(out / f"p{index:02}_x2.png").pixels, expected)


def _wait_for(condition, driver: subprocess.Popen | None) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert driver is None or driver.poll() is None, driver.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def _workers() -> list[int]:
    """The actors of this test's cluster, by the name that Ray gives their processes."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "cmdline").read_text()
        except OSError:
            continue
        if name.startswith("ray::") and "Worker" in name:
            found.append(int(folder.name))
    return found


def test_a_full_disk_is_in_the_manifest(photos: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine mounts nothing")
    try:
        done = batch(photos, disk)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "No space left" in done.stderr
        whole = [io.read(path) for path in disk.glob("p*.png")]  # what was finished is complete
        assert 0 < len(whole) < 6
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(
    ("address", "message"),
    [("127.0.0.1:9", "no cluster answers at 127.0.0.1:9"), ("nonsense", "not the address of a cluster")],
)
def test_no_cluster(photos: Path, tmp_path: Path, address: str, message: str) -> None:
    from usrnet.batch import Settings, plan_batch, run_batch

    plan = plan_batch(str(photos), str(tmp_path / "out"), Settings())
    with pytest.raises(UsrnetError, match=message):
        run_batch(plan, address=address)
