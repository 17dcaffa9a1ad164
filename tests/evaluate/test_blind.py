import json

import numpy as np
import pytest

from usrnet import io, kernels
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
