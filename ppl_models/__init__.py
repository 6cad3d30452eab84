"""What the models are: Pyro programs and guides over images, and what may be claimed of their p(x).

Data flows one way: ordering -> nets -> distributions -> priors, guides, programs -> recipes. Nothing here trains or
scores.
"""

from .errors import InvalidInput, NoExactEvidenceError, NotADensityError
from .ordering import Ordering
from .program import GenerativeProgram, HasLogProb, LatentProgram, TractableProgram

__version__ = "0.1.0"
__all__ = [
    "GenerativeProgram",
    "HasLogProb",
    "InvalidInput",
    "LatentProgram",
    "NoExactEvidenceError",
    "NotADensityError",
    "Ordering",
    "TractableProgram",
    "__version__",
]
