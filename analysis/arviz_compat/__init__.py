"""The one door to ArviZ, for 0.23 (Python 3.11) and 1.x (3.12 and later). What differs between the two is settled here:

- 0.23 ``psislw`` takes log weights; the array function of 1.x takes log-likelihoods and negates them inside.
- 0.23 opens a file as ``InferenceData``, 1.x as an xarray ``DataTree``; here a tree is a mapping of group to dataset.
- ``plot_forest`` draws on axes in 0.23 and returns a ``PlotCollection`` in 1.x; here both give a matplotlib figure.
- ``plot_compare`` looks for ``elpd_loo`` in 0.23 and for ``elpd_diff`` in 1.x; `plot_compare` gives each its own.
- ``loo_approximate_posterior`` is in 1.x alone; here both have it.
- ``compare`` of 1.x flips the sign of ``elpd_diff`` and rounds; `ranking` computes its own from our evidence.
"""

from __future__ import annotations

from analysis.arviz_compat.chains import chain_diagnostics
from analysis.arviz_compat.comparison import ranking
from analysis.arviz_compat.door import arviz_version, is_legacy, load_arviz
from analysis.arviz_compat.loo import approximate_posterior, loo_approximate_posterior
from analysis.arviz_compat.plots import plot_compare, plot_forest
from analysis.arviz_compat.restarts import restarts, to_arviz
from analysis.arviz_compat.trees import guide_draws, open_tree
from analysis.arviz_compat.weights import psis

__all__ = [
    "approximate_posterior",
    "arviz_version",
    "chain_diagnostics",
    "guide_draws",
    "is_legacy",
    "load_arviz",
    "loo_approximate_posterior",
    "open_tree",
    "plot_compare",
    "plot_forest",
    "psis",
    "ranking",
    "restarts",
    "to_arviz",
]
