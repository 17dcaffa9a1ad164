"""A batch on a cluster of this machine: what is written, what is recorded, and what a kill leaves behind."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import usrnet
from usrnet import io
from usrnet.errors import UsrnetError

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # a cluster takes some ten seconds to start and end
MANY = 12  # pictures that are being restored when something is killed
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
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=PATIENCE, check=False)
    if "timed out during startup" in done.stderr:  # Ray gives its cluster 30 s, on a busy machine too
        return batch(*arguments)
    return done


def rows(folder: Path) -> dict[str, dict]:
    return {Path(row["input"]).name: row for row in pq.read_table(folder / "manifest.parquet").to_pylist()}


def test_a_folder(photos: Path, tmp_path: Path, photo: np.ndarray) -> None:
    io.write(
        photos / "p0.png", io.Picture(usrnet.degrade(photo[:200, 100:300], "gaussian:2.5", scale=1, noise_level=6))
    )
    table, out = tmp_path / "settings.csv", tmp_path / "out"
    table.write_text("picture,scale,kernel,noise\np0.png,1,auto,auto\np1.png,1,gaussian:1.2,4\np2.png,,,auto\n")
    done = batch(photos, out, "--kernel", "gaussian:0.9", "--settings", table)
    assert done.returncode == 1, done.stderr  # of the file that is no picture
    assert done.stderr.count("q.png") == 1, done.stderr
    assert "6 of 7 pictures are there" in done.stderr
    assert {path.name for path in out.iterdir()} == {
        "manifest.parquet", "p0_x1.png", "p1_x1.png", *(f"p{index}_x2.png" for index in (2, 3, 4, 5)),
    }  # fmt: skip
    found = rows(out)
    assert found["q.png"]["status"] == "failed"
    assert "q.png" in found["q.png"]["error"]
    assert {found[f"p{index}.png"]["status"] for index in range(6)} == {"written"}
    assert [(row["scale"], row["kernel"], row["noise_level"]) for _, row in sorted(found.items())[:4]] == [
        (1, "auto", "auto"), (1, "gaussian:1.2", "4"), (2, "gaussian:0.9", "auto"), (2, "gaussian:0.9", "2"),
    ]  # fmt: skip
    assert len({row["worker"] for row in found.values()}) == 2

    def alone(name: str, **known: Any) -> np.ndarray:
        return usrnet.restore(io.read(photos / name).pixels, precision="fp32", **known)

    same = np.testing.assert_array_equal
    same(io.read(out / "p3_x2.png").pixels, alone("p3.png", kernel="gaussian:0.9"))
    same(io.read(out / "p2_x2.png").pixels, alone("p2.png", kernel="gaussian:0.9", noise_level="auto"))
    same(io.read(out / "p0_x1.png").pixels, alone("p0.png", scale=1, kernel="auto", noise_level="auto"))
    guess = usrnet.estimate(io.read(photos / "p0.png").pixels, scale=1)
    assert guess.widths[1] > 1  # found, not the default of 0.4
    assert json.loads(found["p0.png"]["estimate"]) == guess.record()
    assert json.loads(found["p2.png"]["estimate"])["scale"] == 2
    assert found["p3.png"]["estimate"] == ""

    # Run again: what is there is left alone, what was spoiled is done again.
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("p*.png")}
    (out / "p0_x1.png").unlink()
    again = batch(photos, out, "--kernel", "gaussian:0.9", "--settings", table)
    assert again.returncode == 1, again.stderr
    assert (out / "p0_x1.png").exists(), again.stderr
    changed = {path.name for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp}
    assert changed == {"p0_x1.png"}
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
    for index in range(MANY):
        part = photo[4 * index : 4 * index + 120, 100:260]
        io.write(folder / f"p{index:02}.png", io.Picture(np.ascontiguousarray(part)))
    return folder


@pytest.mark.parametrize("victim", ["worker", "driver"])
def test_a_kill_costs_nothing_but_time(many: Path, tmp_path: Path, victim: str) -> None:
    out = tmp_path / "out"
    driver = subprocess.Popen(command(many, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _wait_for(lambda: len(list(out.glob("p*.png"))) >= 2, driver)
    workers = _workers_of(driver.pid)
    assert len(workers) == 2
    killed = driver.pid if victim == "driver" else workers[0]
    os.kill(killed, signal.SIGKILL)
    if victim == "driver":
        driver.communicate()
        assert len(list(out.glob("p*.png"))) < MANY
        _wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), None)  # Ray ends what is its
        done = batch(many, out)
    else:
        text = driver.communicate(timeout=PATIENCE)
        done = subprocess.CompletedProcess(driver.args, driver.returncode, *text)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        "manifest.parquet",
        *(f"p{i:02}_x2.png" for i in range(MANY)),
    ]
    assert {row["status"] for row in rows(out).values()} <= {"written", "skipped"}
    assert len(rows(out)) == MANY
    undisturbed = usrnet.Restorer(precision="fp32")
    for index in range(MANY):
        expected = undisturbed(io.read(many / f"p{index:02}.png").pixels)
        np.testing.assert_array_equal(io.read(out / f"p{index:02}_x2.png").pixels, expected)


def _wait_for(condition, driver: subprocess.Popen | None) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert driver is None or driver.poll() is None, driver.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def _workers_of(driver: int) -> list[int]:
    """The actors of a driver's own cluster, by the name that Ray gives their processes."""
    processes: dict[int, tuple[int, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            processes[int(folder.name)] = parent, (folder / "cmdline").read_text()
        except OSError:
            continue

    def descends(pid: int) -> bool:
        return pid == driver or (pid in processes and descends(processes[pid][0]))

    return [pid for pid, (_, name) in processes.items() if name.startswith("ray::MapWorker") and descends(pid)]


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
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert re.search(r"usrnet: .*p\d\.png.*No space left", done.stderr), done.stderr
        whole = [io.read(path) for path in disk.glob("p*.png")]  # what was finished is complete
        assert 0 < len(whole) < 6
    finally:
        subprocess.run(["umount", disk], check=True)


OTHERS = """
import sys, time
from pathlib import Path
import ray
from ray.util.placement_group import placement_group, remove_placement_group

ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
taken = placement_group([{"CPU": 1}])
taken.wait()
Path(sys.argv[1]).write_text(ray.get_runtime_context().gcs_address)
while not Path(sys.argv[2]).exists():
    time.sleep(0.1)
remove_placement_group(taken)
sys.stdin.read()
"""


def test_a_cluster_that_others_use(photos: Path, tmp_path: Path) -> None:
    address, enough, out = tmp_path / "address", tmp_path / "enough", tmp_path / "out"
    begin = [sys.executable, "-c", OTHERS, address, enough]
    open_to_all = os.environ | {"RAY_AUTH_MODE": "disabled"}  # the cluster would let in nobody else
    with subprocess.Popen(begin, stdin=subprocess.PIPE, env=open_to_all) as others:
        try:
            while not (address.exists() and address.read_text()):
                assert others.poll() is None
                time.sleep(0.2)
            ours = command(photos, out, "--address", address.read_text())
            with subprocess.Popen(ours, stderr=subprocess.PIPE, text=True, env=open_to_all) as waiting:
                assert waiting.stderr is not None
                note = "others use the cluster, 0 of its CPUs are free: the work begins when 1 are"
                said = any(note in line for line in waiting.stderr)
                enough.touch()
                waiting.communicate(timeout=PATIENCE)
        finally:
            others.kill()
    assert said
    assert len([row for row in rows(out).values() if row["status"] == "written"]) == 6


@pytest.mark.parametrize(
    ("address", "message"),
    [("127.0.0.1:9", "no cluster answers at 127.0.0.1:9"), ("nonsense", "not the address of a cluster")],
)
def test_no_cluster(photos: Path, tmp_path: Path, address: str, message: str) -> None:
    from usrnet.batch import Settings, plan_batch, run_batch

    plan = plan_batch(str(photos), str(tmp_path / "out"), Settings())
    with pytest.raises(UsrnetError, match=message):
        run_batch(plan, address=address)


def test_something_else_at_the_address_of_a_cluster(photos: Path, tmp_path: Path) -> None:
    from usrnet.batch import Settings, plan_batch, run_batch

    plan = plan_batch(str(photos), str(tmp_path / "out"), Settings())
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(UsrnetError, match=r"what answers at .* is no Ray cluster"):
            run_batch(plan, address=f"127.0.0.1:{server.server_port}")
        server.shutdown()
