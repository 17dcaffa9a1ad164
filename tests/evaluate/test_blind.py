import json

import numpy as np
import pytest

from usrnet import io, kernels
from usrnet.errors import UsrnetError
from usrnet.evaluate import blind
from usrnet.evaluate.blind import BlindEvaluation


def test_kernels_of_the_protocol_depend_on_the_case_alone():
    first = blind.gaussian_of("a.png", 3, 0)
    assert first.shape == (15, 15)
    assert (first == blind.gaussian_of("a.png", 3, 0)).all()
    assert (first != blind.gaussian_of("a.png", 3, 1)).any()
    assert (first != blind.gaussian_of("b.png", 3, 0)).any()


def test_a_shift_is_undone():
    kernel = np.pad(kernels.motion(7), 4)
    moved = np.roll(kernel, (2, -3), (0, 1))
    assert blind.squared_difference(blind.aligned(moved, kernel), kernel) < 1e-3
    assert blind.squared_difference(moved, kernel) > 1e-2


def test_one_bad_picture_does_not_stop_the_others(photo, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    io.write(folder / "a.png", io.Picture(photo[100:150, 100:150]))
    io.write(folder / "flat.png", io.Picture(np.full((40, 40, 3), 90, np.uint8)))
    io.write(folder / "small.png", io.Picture(photo[:12, :12]))
    (folder / "torn.png").write_bytes(b"no picture")
    pictures = sorted(folder.iterdir())
    evaluation = BlindEvaluation(folder, "tv", [2], [0.0], draws=1)
    assert list(evaluation.run(tmp_path / "out", pictures))[-1] == (4, 4)
    assert list(evaluation.failures) == ["small.png", "torn.png"]
    assert "small.png: 12×12 pixels are too few at ×2: cropped to" in evaluation.failures["small.png"]
    cases = evaluation.read(tmp_path / "out", pictures)
    assert [case.picture for case in cases] == ["a.png", "flat.png"]
    blind.write_reports(cases, tmp_path / "out", model="tv", folder=folder, failures=evaluation.failures)
    results = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert results["failures"] == evaluation.failures
    with pytest.raises(UsrnetError, match=r"no picture could be measured: .*torn"):
        evaluation.read(tmp_path / "none", pictures)


def test_a_case_is_known_by_all_that_decides_it(photo, tmp_path):
    """At ×1 the kernels are the same for all pictures, but the noise follows from the name."""
    for name in ("a.png", "b.png"):
        io.write(tmp_path / name, io.Picture(photo[:40, :40]))
    shakes = [("one", kernels.motion(3)), ("two", kernels.motion(3))]
    evaluation = BlindEvaluation(tmp_path, "tv", [1], shakes=shakes)
    keys = {draw.key for draw in evaluation._draws(sorted(tmp_path.glob("*.png")), "version")}
    assert len(keys) == 4
    assert keys.isdisjoint(draw.key for draw in evaluation._draws([tmp_path / "a.png"], "another version"))


def test_wrong_scales_and_levels_are_told_before_the_work(tmp_path):
    with pytest.raises(UsrnetError, match="scale 5 is not supported"):
        BlindEvaluation(tmp_path, "tv", [5])
    with pytest.raises(UsrnetError, match="noise level 300 is not a number"):
        BlindEvaluation(tmp_path, "tv", noise=[300])


@pytest.mark.parametrize("scales", [[2], [1]])
def test_a_run_goes_on_and_is_reported(photo, tmp_path, scales):
    folder = tmp_path / "photos"
    folder.mkdir()
    io.write(folder / "a.png", io.Picture(photo[:120, :120]))
    shakes = [("motion:3", kernels.motion(3))] if scales == [1] else []
    evaluation = BlindEvaluation(folder, "tv", scales, [2.55], draws=1, shakes=shakes)
    pictures = [folder / "a.png"]
    assert list(evaluation.run(tmp_path / "out", pictures)) == [(1, 1)]
    before = (tmp_path / "out" / "scores.jsonl").read_text("utf-8").split()
    assert list(evaluation.run(tmp_path / "out", pictures)) == [(1, 1)]
    assert (tmp_path / "out" / "scores.jsonl").read_text("utf-8").split() == before
    cases = evaluation.read(tmp_path / "out", pictures)
    assert len(cases) == 1
    assert cases[0].true > cases[0].bicubic
    blind.write_reports(cases, tmp_path / "out", model="tv", folder=folder)
    results = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))
    assert results["protocol"] == "blind"
    assert results["rows"][0]["loss_mean"] == pytest.approx(cases[0].loss)
    assert (tmp_path / "out" / "results.csv").read_text("utf-8").count("\n") == 2
