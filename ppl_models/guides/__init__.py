"""Guides q(z | x), one file each."""

from .amortized import AmortizedGuide
from .auto import PyroAuto
from .base import Guide, GuideProgram
from .batch_norm_mean import BatchNormMean
from .code_normal import CodeNormal
from .delta_normal import DeltaNormal
from .diagonal_normal import DiagonalNormal
from .discrete import IndependentBernoulli, OneHotCategorical
from .full_rank_normal import FullRankNormal
from .householder_normal import HouseholderNormal
from .inverse_autoregressive import InverseAutoregressive
from .ladder_normal import LadderNormal
from .laplace import Laplace
from .low_rank_normal import LowRankNormal
from .mixture import Mixture
from .semi_amortized import SemiAmortized
from .student_t import StudentT
from .zuko_flow import ZukoFlow

__all__ = [
    "AmortizedGuide",
    "BatchNormMean",
    "CodeNormal",
    "DeltaNormal",
    "DiagonalNormal",
    "FullRankNormal",
    "Guide",
    "GuideProgram",
    "HouseholderNormal",
    "IndependentBernoulli",
    "InverseAutoregressive",
    "LadderNormal",
    "Laplace",
    "LowRankNormal",
    "Mixture",
    "OneHotCategorical",
    "PyroAuto",
    "SemiAmortized",
    "StudentT",
    "ZukoFlow",
]
