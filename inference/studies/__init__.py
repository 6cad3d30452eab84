"""Studies: one question each, answered by runs and read out by ``analysis``. To add one, write its file and its line
here."""

from . import compare
from .members import Member, Plan, run_plan

# Name -> the module that says what the study asks, of whom, and over which seeds.
STUDIES = {"compare": compare}

__all__ = ["STUDIES", "Member", "Plan", "run_plan"]
