"""How much of an image the latents of a program carry: measures of posterior collapse, written to ``collapse.nc``."""

from .collapse import THRESHOLD, measure_collapse
from .collapse_file import measure_run, write_collapse

__all__ = ["THRESHOLD", "measure_collapse", "measure_run", "write_collapse"]
