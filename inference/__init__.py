"""How programs are trained, scored and sampled: tensors in, files out. Imports nothing from ``analysis``."""

from .claims import Claim
from .completion import Completion, complete
from .data import ImageData, load_data
from .fit import fit
from .history import History
from .registered import registered
from .run import Run, load_run
from .weights import log_weights

__all__ = [
    "Claim",
    "Completion",
    "History",
    "ImageData",
    "Run",
    "complete",
    "fit",
    "load_data",
    "load_run",
    "log_weights",
    "registered",
]
