"""Estimators: callables ``(program, x) -> Estimate``. What they return carries its claim."""

from .annealed import AnnealedImportance
from .annealing_options import AnnealingOptions
from .base import Estimate, Estimator, evaluation_mode
from .enumerated import Enumerated
from .exact import Exact
from .importance import Elbo, ImportanceWeighted
from .jackknife import JackknifedImportanceWeighted
from .names import ESTIMATORS, parse_estimator
from .quadrature import Quadrature
from .reverse import ReverseAnnealedImportance

__all__ = [
    "ESTIMATORS",
    "AnnealedImportance",
    "AnnealingOptions",
    "Elbo",
    "Enumerated",
    "Estimate",
    "Estimator",
    "Exact",
    "ImportanceWeighted",
    "JackknifedImportanceWeighted",
    "Quadrature",
    "ReverseAnnealedImportance",
    "evaluation_mode",
    "parse_estimator",
]
