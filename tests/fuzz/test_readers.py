"""A few hundred bent files; ``python -m fuzz.run`` tries as many as there is time for."""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory in /proc")
@pytest.mark.parametrize("what", ["pictures", "passed", "kernels"])
def test_bent_files_are_read_or_end_in_one_sentence(what, tmp_path):
    command = [sys.executable, "-m", "fuzz.run", what, "--cases", "200", "--keep", str(tmp_path)]
    run = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stdout + run.stderr[-2000:]
    assert "200 cases" in run.stdout
