"""What is established; held-out evidence ranked and stacked; restarts as chains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.agenda import agenda
from analysis.pairs import Judgement


def established(judgement: Judgement) -> Mapping[str, Any]:
    """The table of what is established and what would decide the rest."""
    return {"rows": agenda(judgement)}
