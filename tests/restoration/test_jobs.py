from pathlib import Path

import pytest

from usrnet.errors import UsrnetError
from usrnet.restoration.jobs import Recipe, find_pictures, plan_jobs


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
    with pytest.raises(UsrnetError, match="no pictures"):
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
    (folder / "a_x2.png").touch()
    jobs = plan_jobs(find_pictures([str(folder)]), None, at(2))
    assert [job.source.name for job in jobs] == ["a.jpg", "b.png"]


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
