"""Studies: one question each, answered by runs and read out by ``analysis``. To add one, write its file and its line
here."""

from . import collapse, compare, gap, hybrids
from .members import Member, Plan, of_budget, run_plan
from .pools import Pool

# Name -> the module that says what the study asks, of whom (for each budget, where they differ), and over which seeds.
# One with a function ``run`` makes its runs itself.
STUDIES = {"compare": compare, "gap": gap, "collapse": collapse, "hybrids": hybrids}

__all__ = ["STUDIES", "Member", "Plan", "Pool", "of_budget", "run_plan"]
