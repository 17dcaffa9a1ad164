from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from usrnet.errors import UsrnetError
from usrnet.io import Picture, write
from usrnet.io.metadata import Metadata
from usrnet.restoration import sort_out
from usrnet.restoration.jobs import Recipe, find_pictures, fingerprint, plan_jobs


def at(scale: int) -> Recipe:
    return Recipe.of_settings(scale, "delta", 0, "tv")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.jpg", "notes.txt", ".hidden.png", "deep/c d.tif", "deep/写真.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(found) -> list[str]:
    return [path.name for path, _ in found]


def test_files_folders_and_globs(folder):
    assert names(find_pictures([str(folder)])) == ["a.jpg", "b.png"]
    assert names(find_pictures([str(folder)], recursive=True)) == ["a.jpg", "b.png", "c d.tif", "写真.webp"]
    assert names(find_pictures([str(folder / "*.png"), str(folder / "a.jpg")])) == ["b.png", "a.jpg"]
    assert names(find_pictures([str(folder / "**/*.webp")])) == ["写真.webp"]
    assert names(find_pictures([str(folder / "b.png"), str(folder / "b.png")])) == ["b.png"]
    assert names(find_pictures([str(folder / "missing.png")])) == ["missing.png"]  # reading it says so


def test_nothing_there_is_an_error(folder):
    (folder / "empty").mkdir()
    with pytest.raises(UsrnetError, match=r"no pictures there$"):
        find_pictures([str(folder / "empty")])
    (folder / "empty" / "inner").mkdir()
    with pytest.raises(UsrnetError, match="its folders are not looked into"):
        find_pictures([str(folder / "empty")])
    with pytest.raises(UsrnetError, match="no pictures"):
        find_pictures([str(folder / "*.bmp")])


def test_names_beside_the_input_and_in_a_folder(folder):
    found = find_pictures([str(folder)], recursive=True)
    beside = [Path(job.names[1]).relative_to(folder).as_posix() for job in plan_jobs(found, None, at(4))]
    assert beside == ["a_x4.png", "b_x4.png", "deep/c d_x4.tif", "deep/写真_x4.png"]
    out = [Path(job.names[1]).relative_to(folder / "out") for job in plan_jobs(found, folder / "out", at(2))]
    assert out[2].as_posix() == "deep/c d_x2.tif"


def test_results_are_not_taken_for_inputs(folder):
    result_of(folder / "a.jpg", folder / "a_x2.png")
    for found in (find_pictures([str(folder)]), find_pictures(sorted(map(str, folder.glob("[ab]*.*g"))))):
        jobs = plan_jobs(found, None, at(2))
        assert {job.source.name: job.target.name for job in jobs} == {"a.jpg": "a_x2.png", "b.png": "b_x2.png"}


def test_a_picture_that_has_the_name_of_a_result_is_neither_overwritten_nor_passed_over(folder):
    (folder / "b_x2.png").write_bytes(b"a picture of the user's own")
    for found in (find_pictures([str(folder)]), find_pictures([str(folder / "b.png"), str(folder / "b_x2.png")])):
        planned = {job.source.name: job.target.name for job in plan_jobs(found, None, at(2))}
        assert planned["b.png"] == "b_png_x2.png"
        assert planned["b_x2.png"] == "b_x2_x2.png"


def test_inputs_that_differ_in_their_suffix_get_names_of_their_own(folder):
    (folder / "a.png").touch()
    jobs = plan_jobs(find_pictures([str(folder)]), None, at(2))
    assert [job.target.name for job in jobs] == ["a_x2.png", "a_png_x2.png", "b_x2.png"]


def test_an_input_is_never_overwritten(folder):
    found = find_pictures([str(folder / "b.png")])
    with pytest.raises(UsrnetError, match="is an input"):
        plan_jobs(found, folder / "b.png", at(2))


def test_one_file_cannot_hold_two_pictures(folder):
    with pytest.raises(UsrnetError, match="give -o a folder"):
        plan_jobs(find_pictures([str(folder)]), folder / "out.png", at(2))


def result_of(source: Path, target: Path, *, scale: int = 2) -> None:
    (job,) = plan_jobs([(source, source.parent)], target, at(scale))
    write(target, Picture(np.zeros((4, 4), np.uint8), metadata=Metadata(provenance=job.recipe.text())))


@pytest.mark.parametrize("name", ["r.png", "r.tif", "r.jpg", "r.webp"])
def test_results_carry_their_recipe_and_are_not_inputs(folder, name):
    result_of(folder / "b.png", folder / name)
    mark = {"picture": fingerprint(folder / "b.png")}
    assert Recipe.of(folder / name) == Recipe(2, "delta", 0, "tv", "b.png", contents=mark)
    assert names(find_pictures([str(folder)])) == ["a.jpg", "b.png"]
    assert names(find_pictures([str(folder / "*.*")])) == ["a.jpg", "b.png"]
    assert names(find_pictures([str(folder / name)])) == [name]  # it is asked for by name


def test_what_a_result_is_called_once_it_is_called_ever_after(folder):
    """``a.png`` was restored; then ``a.jpg`` came to lie beside it."""
    (folder / "a.png").touch()
    result_of(folder / "a.png", folder / "a_x2.png")
    found = find_pictures([str(folder)])
    planned = {Path(job.names[0]).name: Path(job.names[1]).name for job in plan_jobs(found, None, at(2))}
    assert planned == {"a.png": "a_x2.png", "a.jpg": "a_jpg_x2.png", "b.png": "b_x2.png"}


def test_what_is_there_already_is_sorted_out(folder):
    for name, scale in (("a_x2.png", 2), ("b_x2.png", 3)):
        source = folder / name.replace("_x2", "").replace("a.png", "a.jpg")
        result_of(source, folder / name, scale=scale)
    jobs = plan_jobs(find_pictures([str(folder)], recursive=True), None, at(2))
    todo, settled = sort_out(jobs, overwrite=False)
    assert [Path(job.names[0]).name for job in todo] == ["c d.tif", "写真.webp"]
    assert [(outcome.status, Path(outcome.job.names[0]).name) for outcome in settled] == [
        ("skipped", "a.jpg"),
        ("failed", "b.png"),
    ]
    assert "made otherwise (scale 3)" in settled[1].message
    assert len(sort_out(jobs, overwrite=True)[0]) == 4


def test_what_is_there_came_from_other_files_of_the_same_names(folder):
    """Cameras count from 1 again, and people mend a PSF and try again."""

    def settle(recipe):
        (job,) = plan_jobs([(folder / "b.png", folder)], folder / "out/r.png", recipe)
        return job, sort_out([job], overwrite=False)

    psf = folder / "psf.npy"
    np.save(psf, np.ones((3, 3)) / 9)
    recipe = Recipe.of_settings(2, f"{psf}:1", 0, "tv")
    job, (todo, _) = settle(recipe)
    assert todo == [job]
    (folder / "out").mkdir()
    write(folder / "out/r.png", Picture(np.zeros((4, 4), np.uint8), metadata=Metadata(provenance=job.recipe.text())))
    assert settle(recipe)[1][1][0].status == "skipped"
    np.save(psf, np.eye(3) / 3)
    (outcome,) = settle(Recipe.of_settings(2, f"{psf}:1", 0, "tv"))[1][1]
    assert outcome.status == "failed"
    assert "made otherwise (from another kernel of this name)" in outcome.message
    (folder / "b.png").write_bytes(b"another picture")
    (outcome,) = settle(recipe)[1][1]
    assert "made otherwise (from another picture of this name)" in outcome.message


@pytest.mark.parametrize("name", ["delta", "no such.npy", "x" * 300, "gaussian:1.5", "hf:OWNER/NAME"])
def test_texts_that_name_no_file_have_no_fingerprint(name):
    assert fingerprint(Path(name)) == ""


def test_a_grid_counts_with_the_files_that_it_names(folder):
    (folder / "grid.json").write_text('{"kernels": [["one.npy", "gaussian:2"]]}')
    np.save(folder / "one.npy", np.ones((3, 3)) / 9)
    before = fingerprint(folder / "grid.json")
    assert before == fingerprint(folder / "grid.json")
    np.save(folder / "one.npy", np.eye(3) / 3)
    assert fingerprint(folder / "grid.json") != before
    (folder / "kernels").mkdir()
    np.save(folder / "kernels/a.npy", np.ones((3, 3)) / 9)
    (folder / "grid.json").write_text('{"kernels": [["kernels/a.npy:1", "gaussian:2"]]}')
    before = fingerprint(folder / "grid.json")
    assert before
    np.save(folder / "kernels/a.npy", np.eye(3) / 3)
    assert fingerprint(folder / "grid.json") != before
    (folder / "grid.json").write_text("[]")  # is refused by whoever reads it
    assert fingerprint(folder / "grid.json")
    assert fingerprint(folder)  # a folder counts with its files, whatever folders lie in it


def test_a_model_in_a_folder_counts_and_a_name_is_no_file(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name in ("tv", "delta"):
        (folder / name).write_bytes(b"something else")
    assert Recipe.of_settings(2, "delta", 0, "tv").contents == {}
    (folder / "mine").mkdir()
    (folder / "mine/model.safetensors").write_bytes(b"weights")
    before = Recipe.of_settings(2, "delta", 0, "./mine")
    (folder / "mine/model.safetensors").write_bytes(b"others!")
    assert Recipe.of_settings(2, "delta", 0, "mine").difference(before) == "from another model of this name"


def test_a_name_with_a_slash_is_a_folder_and_what_cannot_be_written_is_refused(folder):
    found = find_pictures([str(folder / "b.png")])
    (job,) = plan_jobs(found, str(folder / "out_v1.5") + "/", at(2))
    assert job.target == folder / "out_v1.5" / "b_x2.png"
    with pytest.raises(UsrnetError, match=r"cannot write \.gif"):
        plan_jobs(found, folder / "out.gif", at(2))


@pytest.mark.parametrize(
    ("content", "suffix"),
    [("JPEG", ".png"), ("PNG", ".png"), ("GIF", ".gif"), ("WEBP", ".webp"), ("TIFF", ".tif"), ("nothing", None)],
)
@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_a_wrong_name_does_not_say_what_all_the_pictures_are_written_as(tmp_path, content, suffix, name):
    if content != "nothing":
        Image.new("RGB", (8, 6)).save(tmp_path / name, content)
    recipe = replace(at(1), all_pages=True)
    (job,) = plan_jobs(find_pictures([str(tmp_path / name)]), None, recipe)
    if name == "a.tif" and suffix == ".png":
        suffix = ".tif"  # which holds everything
    assert Path(job.names[1]).name == f"a_x1{suffix or name[1:]}"
