"""Files that appear whole or not at all, whatever their name."""

import pytest

from usrnet.atomic import ensure_writable, write_bytes
from usrnet.errors import UsrnetError


def test_a_name_as_long_as_the_system_allows(tmp_path):
    path = tmp_path / ("写" * 83 + ".png")  # 253 bytes of 255
    write_bytes(path, b"x")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_link_stays_one(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "real" / "there.png")
    write_bytes(link, b"x")
    assert link.is_symlink()
    assert (tmp_path / "real" / "there.png").read_bytes() == b"x"


def test_a_folder_that_cannot_be_made_is_found_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsrnetError, match="files cannot be written there"):
        ensure_writable(tmp_path / "file" / "folder")
    ensure_writable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
