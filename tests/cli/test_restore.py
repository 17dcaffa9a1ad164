"""The command line as a user meets it: real processes, real files."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def usrnet(*arguments: object, stdin: bytes | None = None, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "usrnet", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=120, env=os.environ | environment)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def one_sentence(result: subprocess.CompletedProcess[bytes], code: int, *words: str) -> None:
    text = result.stderr.decode()
    assert result.returncode == code, text
    assert "Traceback" not in text
    assert all(word in text for word in words), text


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a photo 写.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    return path


def test_writes_beside_the_input_and_leaves_it_alone_next_time(picture):
    result = usrnet("restore", picture, "--model", "tv")
    target = picture.with_name("a photo 写_x2.png")
    assert result.returncode == 0, result.stderr.decode()
    assert size_of(target) == (60, 40)
    before = target.stat().st_mtime_ns
    assert b"already there" in usrnet("restore", picture, "--model", "tv").stderr
    assert target.stat().st_mtime_ns == before
    usrnet("restore", picture, "--model", "tv", "--overwrite")
    assert target.stat().st_mtime_ns > before


def test_json_and_a_bad_file_among_good_ones(picture, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    out = tmp_path / "out"
    result = usrnet("restore", picture, bad, tmp_path / "gone.png", "-o", out, "--model", "tv", "--json")
    one_sentence(result, 1, "bad.png", "gone.png", "2 of 3 pictures failed")
    record, *failed = map(json.loads, result.stdout.splitlines())
    assert [one["status"] for one in (record, *failed)] == ["written", "failed", "failed"]
    assert failed[0]["input"] == str(bad)
    assert failed[0]["output"] == str(out / "bad_x2.png")
    assert str(bad) in failed[0]["reason"]
    assert record["input"] == str(picture)
    assert record["kernel"] == "gaussian:0.7"
    assert {"output", "scale", "noise_level", "model", "seconds", "peak_mb"} <= record.keys()
    assert [path.name for path in out.iterdir()] == ["a photo 写_x2.png"]
    again = json.loads(usrnet("restore", picture, "-o", out, "--model", "tv", "--json").stdout)
    assert again["status"] == "skipped"
    assert "already there, left alone" in again["reason"]
    other = json.loads(usrnet("restore", picture, "-o", out, "--model", "tv", "--json", "--noise", 9).stdout)
    assert (other["status"], other["input"], other["output"]) == ("failed", str(picture), record["output"])


def test_standard_input_and_output(picture):
    result = usrnet("restore", "-", "--scale", 3, "--model", "tv", stdin=picture.read_bytes())
    assert result.returncode == 0, result.stderr.decode()
    assert Image.open(io.BytesIO(result.stdout)).size == (90, 60)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scale", "5"], ["scale 5", "1, 2, 3 or 4"]),
        (["--noise", "-1"], ["noise level -1"]),
        (["--kernel", "gaussian:wide"], ["gaussian:wide"]),
        (["--kernel", "missing.npy"], ["missing.npy"]),
        (["--model", "missing.pth"], ["missing.pth"]),
        (["--device", "cuda:7"], ["not there"]),
        (["--tile", "3"], ["tile 3"]),
        (["--precision", "fp8"], ["fp8"]),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(picture, options, words):
    one_sentence(usrnet("restore", picture, *options), 2, *words)
    assert [path.name for path in picture.parent.iterdir()] == [picture.name]


def test_output_is_an_input(picture):
    one_sentence(usrnet("restore", picture, "-o", picture, "--model", "tv"), 2, "is an input")


def test_interrupt_stops_at_once_and_leaves_nothing(tmp_path):
    path = tmp_path / "large.png"
    Image.fromarray(np.zeros((1500, 1500, 3), np.uint8)).save(path)
    with subprocess.Popen(
        [sys.executable, "-m", "usrnet", "restore", str(path), "--model", "tv"], stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs of a shell ignore it
    ) as process:  # fmt: skip
        assert process.stderr is not None
        process.stderr.readline()  # the line that says the device: the work begins
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert errors.strip() == b"usrnet: stopped"  # older versions of click begin a new line
    assert [path.name for path in tmp_path.iterdir()] == ["large.png"]


def test_help_and_import_do_not_load_torch():
    code = "import sys, usrnet; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import sys, usrnet.cli; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert b"restore" in usrnet("--help").stdout


def test_degrade_and_restore_undo_each_other(tmp_path, photo):
    source = tmp_path / "truth.png"
    Image.fromarray(photo[96:192, 96:192]).save(source)
    small = tmp_path / "small.png"
    result = usrnet("degrade", source, "-o", small, "--scale", 2, "--kernel", "gaussian:1.2", "--noise", 2)
    assert result.returncode == 0, result.stderr.decode()
    assert size_of(small) == (48, 48)
    result = usrnet("restore", small, "-o", tmp_path / "out.png", "--kernel", "gaussian:1.2", "--model", "tv")
    assert result.returncode == 0, result.stderr.decode()
    from usrnet import metrics

    with Image.open(tmp_path / "out.png") as image:
        restored = np.asarray(image)
    with Image.open(small) as image:
        bicubic = np.asarray(image.resize((96, 96), Image.Resampling.BICUBIC))
    assert metrics.psnr(restored, photo[96:192, 96:192], border=8) > metrics.psnr(
        bicubic, photo[96:192, 96:192], border=8
    )


def test_other_settings_do_not_pass_for_done(picture):
    assert usrnet("restore", picture, "--model", "tv").returncode == 0
    target = picture.with_name("a photo 写_x2.png")
    before = target.read_bytes()
    one_sentence(usrnet("restore", picture, "--model", "tv", "--noise", 9), 1, "made otherwise (noise level 2.0)")
    assert target.read_bytes() == before
    result = usrnet("restore", picture.parent, "--model", "tv", "--scale", 3)
    assert result.returncode == 0, result.stderr.decode()
    assert sorted(path.name for path in picture.parent.iterdir()) == [
        "a photo 写.png", "a photo 写_x2.png", "a photo 写_x3.png",
    ]  # fmt: skip


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_output_that_cannot_show_a_name_ends_nothing(picture, options):
    result = usrnet("restore", picture, "--model", "tv", *options, PYTHONIOENCODING="cp437", PYTHONUTF8="0")
    one_sentence(result, 0)
    assert picture.with_name("a photo 写_x2.png").exists()


def test_bf16_that_cannot_be_had_is_one_sentence(picture):
    result = usrnet("restore", picture, "--precision", "bf16", ONEDNN_MAX_CPU_ISA="AVX2")
    one_sentence(result, 2, "precision 'bf16' cannot be had on this processor")
