"""Many pictures: none stops the others, whatever it throws."""

import numpy as np

from usrnet.io import Picture, read, write
from usrnet.restoration import Restorer, observe, restore_pictures
from usrnet.restoration.jobs import Job, Recipe


def test_every_picture_has_an_outcome(tmp_path, monkeypatch):
    recipe = Recipe(2, "delta", 0, "tv")
    for name in "abc":
        write(tmp_path / f"{name}.png", Picture(np.full((8, 8 + ord(name)), 99, np.uint8)))
    (tmp_path / "d.png").write_bytes(b"no picture")
    jobs = [Job(tmp_path / f"{name}.png", tmp_path / f"out/{name}.png", recipe) for name in "abcd"]
    original = Restorer.strips

    def strips(self, source, observation, **options):
        if source.shape[1] == 8 + ord("b"):
            raise ZeroDivisionError("a bug")
        return original(self, source, observation, **options)

    monkeypatch.setattr(Restorer, "strips", strips)
    seen = []
    outcomes = list(
        restore_pictures(Restorer("tv"), jobs, observe(), progress=lambda job, done, total: seen.append(job.source))
    )
    assert [outcome.status for outcome in outcomes] == ["written", "failed", "written", "failed"]
    assert outcomes[1].message == f"{tmp_path / 'b.png'}: ZeroDivisionError: a bug"
    assert "d.png: not a picture" in outcomes[3].message
    assert outcomes[0].seconds > 0
    assert outcomes[0].peak_mb > 10
    assert read(tmp_path / "out/c.png").pixels.shape == (16, 16 + 2 * ord("c"))
    assert set(seen) == {tmp_path / "a.png", tmp_path / "c.png"}
