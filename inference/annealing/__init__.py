"""Annealed importance sampling: the path, the moves along it, their tuning, and the pass that collects the weights.

``docs/annealing.md`` has the equations. The estimators that use it are in ``inference.estimators.annealed``.
"""

from .bridge import Bridge, Point
from .build import make_bridge
from .layout import Block, blocks_of
from .passes import Pass, run_pass
from .schedules import SCHEDULES
from .state import StateFile
from .tuning import Tuning, tune

__all__ = [
    "SCHEDULES",
    "Block",
    "Bridge",
    "Pass",
    "Point",
    "StateFile",
    "Tuning",
    "blocks_of",
    "make_bridge",
    "run_pass",
    "tune",
]
