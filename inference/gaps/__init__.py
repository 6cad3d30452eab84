"""The gap of a bound: how much of log p(x) - ELBO is the guide's family, and how much its amortization."""

from .bracket import Bracket, bracket_of
from .closed_form import closed_form_gap
from .decompose import Gap, decompose
from .family import check_splittable
from .gap_file import as_dataset, write_gap
from .settings import GapSettings

__all__ = [
    "Bracket",
    "Gap",
    "GapSettings",
    "as_dataset",
    "bracket_of",
    "check_splittable",
    "closed_form_gap",
    "decompose",
    "write_gap",
]
