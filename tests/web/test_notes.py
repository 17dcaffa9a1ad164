"""Notes of the library reach the person whose request they are about."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from usrnet import io
from usrnet.errors import UsrnetWarning
from usrnet.web import actions
from usrnet.web.actions import FILE, Settings
from usrnet.web.notes import hearing, passed_on


def test_everyone_hears_what_is_said_about_their_own():
    together = Barrier(2)

    def one(name: str) -> list[str]:
        with hearing() as heard:
            for _ in range(2):  # a second time, too
                together.wait(10)
                warnings.warn(f"{name}: odd", UsrnetWarning, stacklevel=1)
        return heard

    with passed_on(), ThreadPoolExecutor(2) as pool:
        assert list(pool.map(one, ["a.png", "b.png"])) == [["a.png: odd"] * 2, ["b.png: odd"] * 2]


def test_other_warnings_go_where_they_went():
    shown = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: shown.append(str(message))
        with passed_on():
            warnings.warn("nobody hears this", UsrnetWarning, stacklevel=1)
            with hearing() as heard:
                warnings.warn("of another kind", UserWarning, stacklevel=1)
        warnings.warn("afterwards", UsrnetWarning, stacklevel=1)
    assert heard == []
    assert shown == ["nobody hears this", "of another kind", "afterwards"]


def test_each_result_has_the_notes_on_its_kernel(tmp_path, photo):
    path, kernel = tmp_path / "p.png", tmp_path / "odd.npy"
    io.write(path, io.Picture(photo[:32, :32]))
    np.save(kernel, np.pad(np.ones((4, 4)) / 16, ((0, 9), (0, 9))))
    settings = Settings(blur=FILE, kernel_file=str(kernel), model="tv")
    with passed_on(), hearing() as first:
        settings.taps()  # which is kept
    with pytest.MonkeyPatch.context() as patch, passed_on(), hearing() as later:
        patch.setattr(actions, "restorer_of", actions.make_restorer)
        actions.restore_all(str(path), settings, tmp_path, stop=actions.threading.Event(), progress=lambda *_: None)
    assert any("odd.npy: the centre of mass" in text for text in first)
    assert any("odd.npy: the centre of mass" in text for text in later)
