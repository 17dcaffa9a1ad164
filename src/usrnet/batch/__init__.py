"""Many pictures on many machines: Ray Data carries the names, actors that hold a network do the rest."""

from usrnet.batch.manifest import Manifest, Row
from usrnet.batch.plan import Plan, Settings, plan_batch, read_settings
from usrnet.batch.ray import run_batch

__all__ = ["Manifest", "Plan", "Row", "Settings", "plan_batch", "read_settings", "run_batch"]
