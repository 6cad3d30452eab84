"""What the files say: evidence with its claims, verdicts, plots and the report.

Reads folders of files (docs/files.md) and imports neither torch nor Pyro. Names are loaded when first used, so that
``import analysis`` costs nothing and changes nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Claim": "analysis.claims",
    "ClaimRow": "analysis.table",
    "Contender": "analysis.contenders",
    "Evidence": "analysis.evidence",
    "Incomparable": "analysis.errors",
    "InvalidInput": "analysis.errors",
    "Pair": "analysis.verdicts",
    "Run": "analysis.runs",
    "Study": "analysis.runs",
    "Verdict": "analysis.verdicts",
    "Word": "analysis.verdicts",
    "check_comparable": "analysis.evidence",
    "elbo_ranking": "analysis.ranking",
    "holm": "analysis.statistics",
    "import_evidence": "analysis.import_evidence",
    "judge": "analysis.verdicts",
    "judge_study": "analysis.pairs",
    "paired_t": "analysis.statistics",
    "psis": "analysis.arviz_compat",
    "read_evidence": "analysis.evidence",
    "read_run": "analysis.runs",
    "read_study": "analysis.runs",
    "render_report": "analysis.report",
    "table_of_claims": "analysis.table",
    "write_report": "analysis.report",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
