"""Studies: one question each, answered by runs and read out by ``analysis``. To add one, write its file and its line
here."""

from . import compare, gap
from .members import Member, Plan, of_budget, run_plan

# Name -> the module that says what the study asks, of whom (for each budget, where they differ), and over which seeds.
STUDIES = {"compare": compare, "gap": gap}

__all__ = ["STUDIES", "Member", "Plan", "of_budget", "run_plan"]
