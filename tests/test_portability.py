"""The package on systems that lack what Linux has."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

WITHOUT_POSIX = """
import builtins, pkgutil, sys
real = builtins.__import__
def refuse(name, globals=None, *rest, **named):
    ours = globals is not None and str(globals.get("__name__")).startswith("usrnet")
    if ours and name in ("resource", "fcntl", "pwd", "termios", "grp"):
        raise ImportError(f"{name}: not on Windows")  # the libraries that we use know where they are
    return real(name, globals, *rest, **named)
builtins.__import__ = refuse
import usrnet, usrnet.errors
for module in pkgutil.walk_packages(usrnet.__path__, "usrnet.", onerror=lambda name: None):
    if module.name.endswith("__main__"):
        continue
    try:
        __import__(module.name)
    except (ModuleNotFoundError, usrnet.errors.UsrnetError) as error:  # an extra that is not installed
        if "usrnet" in str(getattr(error, "name", "")):
            raise
from usrnet.cli import main
sys.argv = ["usrnet", "restore", *sys.argv[1:]]
main()
"""


def test_nothing_needs_posix(tmp_path: Path):
    Image.fromarray(np.zeros((9, 8, 3), np.uint8)).save(tmp_path / "a.png")
    command = [sys.executable, "-c", WITHOUT_POSIX, str(tmp_path / "a.png"), "--model", "tv", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "a_x2.png") as restored:
        assert restored.size == (16, 18)
