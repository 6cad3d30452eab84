"""The kit: what must hold of a guide, program or distribution of your own, as a list of checks.

    from ppl_models.testing import check_guide
    print(check_guide(MyGuide(784, 16), VAE(784, 16), images))

Each function runs all of its checks, so that one fault does not hide another. It returns the ``Report`` where none
failed, and raises ``ConformanceError`` otherwise, an ``AssertionError`` whose message has a sentence per failed check
and whose ``report`` holds all of them. On the command line: ``python -m ppl_models.testing my_guide.py:MyGuide``.
"""

from .distribution import check_distribution
from .guide import check_guide
from .linear_gaussian import LinearGaussian
from .program import check_program
from .report import Check, ConformanceError, Report

__all__ = [
    "Check",
    "ConformanceError",
    "LinearGaussian",
    "Report",
    "check_distribution",
    "check_guide",
    "check_program",
]
