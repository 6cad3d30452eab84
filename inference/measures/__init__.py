"""How much of an image the latents of a program carry: measures of posterior collapse, written to ``collapse.nc``."""

from .collapse import THRESHOLD, check_latents, measure_collapse
from .collapse_file import collapse_name, collapse_table, measure_run, write_collapse

__all__ = [
    "THRESHOLD",
    "check_latents",
    "collapse_name",
    "collapse_table",
    "measure_collapse",
    "measure_run",
    "write_collapse",
]
