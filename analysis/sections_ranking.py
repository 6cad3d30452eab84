"""The section with the ranking of held-out evidence, drawn by ArviZ, and the weights of stacking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.arviz_compat import plot_compare, ranking
from analysis.errors import Incomparable, InvalidInput
from analysis.runs import Study
from analysis.stacking import stack
from analysis.style import as_picture, house_style


def ranked(study: Study) -> Mapping[str, Any]:
    """Rows of the ranking, its plot, the mixtures and who is in none; ``reason`` where there is no ranking."""
    stacked, left_out = stack(study)
    content = {"rows": [], "images": 0, "picture": None, "reason": "", "stacked": stacked, "left_out": left_out}
    try:
        table = ranking(study)
    except (Incomparable, InvalidInput) as error:
        return content | {"reason": str(error)}
    rows = [
        {"member": name, **{key: table[key].values[place].item() for key in table.data_vars}}
        for place, name in enumerate(table["member"].values.tolist())
    ]
    picture = None
    if len(rows) > 1 and np.isfinite(table["diff"]).all():
        with house_style():
            picture = as_picture(plot_compare(table), "ArviZ compare plot of held-out log p(x)")
    return content | {"rows": rows, "images": table.attrs["images"], "picture": picture}
