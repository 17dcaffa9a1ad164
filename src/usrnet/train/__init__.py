"""Training: ``usrnet train``. Needs the extra ``train``."""

from usrnet.errors import require

for _module in ("lightning_fabric", "pydantic", "tensorboard"):
    require(_module, extra="train")

from usrnet.train.config import TrainConfig, read_config  # noqa: E402
from usrnet.train.loop import train  # noqa: E402
from usrnet.train.settings import recipes  # noqa: E402

__all__ = ["TrainConfig", "read_config", "recipes", "train"]
