"""The gap of a bound: how much of log p(x) - ELBO is the guide's family, and how much its amortization."""

from .bracket import Bracket, bracket_of, nothing_known
from .closed_form import closed_form_gap
from .decompose import Gap, decompose
from .family import check_splittable
from .gap_file import as_dataset, read_gap, write_gap
from .script import check_gap, gap_of_run, gap_path, gap_settings, gap_table
from .settings import GapSettings

__all__ = [
    "Bracket",
    "Gap",
    "GapSettings",
    "as_dataset",
    "bracket_of",
    "check_gap",
    "check_splittable",
    "closed_form_gap",
    "decompose",
    "gap_of_run",
    "gap_path",
    "gap_settings",
    "gap_table",
    "nothing_known",
    "read_gap",
    "write_gap",
]
