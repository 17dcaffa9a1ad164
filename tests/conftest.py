"""What all tests share: the data folder and the official weights."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from tolerances import TOLERANCE

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    if not (SHARED / "DESIGN.md").exists():
        pytest.skip("needs the data in ../shared")
    return SHARED


@pytest.fixture(params=TOLERANCE, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests neither see nor change what the user has downloaded."""
    os.environ["USRNET_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """The bundled photo, 384×384×3 uint8."""
    import usrnet
    from usrnet import io

    path = Path(usrnet.__file__).parent / "data" / "astronaut.png"
    return io.read(path).pixels
