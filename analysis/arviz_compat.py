"""The one module that imports ArviZ, for 0.23 (Python 3.11) and 1.x (3.12 and later).

ArviZ is imported inside the functions: it sets colour maps and styles when imported, and a report without latents needs
none of it. What differs between the two is settled here:

- 0.23 ``psislw`` takes log weights; the array function of 1.x takes log-likelihoods and negates them inside.
- 0.23 opens a file as ``InferenceData``, 1.x as an xarray ``DataTree``; here a tree is a mapping of group to dataset.
- ``plot_forest`` draws on axes in 0.23 and returns a ``PlotCollection`` in 1.x; here both give a matplotlib figure.
- ``compare`` of 1.x flips the sign of ``elpd_diff`` and rounds; `ranking` computes its own from our evidence.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from analysis.errors import InvalidInput
from analysis.evidence import check_comparable, common_images
from analysis.files import MAKERS
from analysis.runs import Study
from analysis.sides import best_values, check_all_comparable, in_short
from analysis.statistics import mean_and_stderr


def _arviz() -> ModuleType:
    """ArviZ, without the notice on its own future that 0.23 prints once a day."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*ArviZ is undergoing", category=FutureWarning)
        import arviz
    return arviz


def _is_legacy(arviz: ModuleType) -> bool:
    return arviz.__version__.startswith("0.")


def arviz_version() -> str:
    """The version in use, for the provenance of a report."""
    return str(_arviz().__version__)


def open_tree(path: Path) -> dict[str, xr.Dataset]:
    """The groups of an ArviZ file (``latents.nc``, ``posterior.nc``), loaded and closed.

    Raises:
        InvalidInput: the file is missing or is no netCDF tree with a ``posterior``.
    """
    maker = MAKERS.get(path.name, MAKERS["latents.nc"])
    if not path.is_file():
        raise InvalidInput(str(path), "(missing)", "there is no such file", f"make it with: {maker}")
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            groups = {name: node.to_dataset().load() for name, node in tree.children.items()}
    except (OSError, ValueError, KeyError) as error:
        problem = f"is not a readable netCDF tree ({type(error).__name__})"
        raise InvalidInput(str(path), "(content)", problem, f"make it with: {maker}") from error
    if "posterior" not in groups:
        raise InvalidInput(str(path), "posterior", "this group is missing", f"make it with: {maker}")
    return groups


def guide_draws(path: Path, site: str = "z") -> xr.DataArray:
    """Draws of one latent site from ``latents.nc``: (chain, draw, image, latent).

    They come from the guide, so they are independent and no Markov chain: r-hat and effective sample sizes of chains
    have no meaning here.
    """
    posterior = open_tree(path)["posterior"]
    if site not in posterior:
        known = ", ".join(str(name) for name in posterior.data_vars)
        raise InvalidInput(str(path), site, "is no site of the posterior", f"known: {known}")
    return posterior[site]


def psis(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pareto-smoothed importance weights (Vehtari et al. 2024, JMLR 25), one problem per image.

    Args:
        log_weights: (K, N), log p(x, z_k) - log q(z_k | x), as `inference.weights` gives them.

    Returns:
        Smoothed log weights (K, N), normalized so that their exponentials sum to one over K, and k-hat (N,): above 0.7
        the mean of the weights has no reliable error.

    Raises:
        InvalidInput: not a (K, N) array of finite numbers with K >= 2.
    """
    weights = np.array(log_weights, dtype=float)
    if weights.ndim != 2 or weights.shape[0] < 2 or not np.isfinite(weights).all():
        value = f"of shape {weights.shape}"
        raise InvalidInput("log_weights", value, "is not (K, N), finite, K >= 2", "give one row per particle")
    arviz = _arviz()
    if _is_legacy(arviz):
        smoothed, k_hat = arviz.psislw(weights.T)
    else:
        from arviz_stats.base import array_stats

        smoothed, k_hat = array_stats.psislw(-weights.T, axis=-1)
    return np.asarray(smoothed).T, np.atleast_1d(np.asarray(k_hat))


def plot_forest(path: Path, image: int, latents: Sequence[int], site: str = "z") -> Figure:
    """ArviZ's forest plot of chosen latents of one image: interval and median of the guide's draws.

    Args:
        path: ``latents.nc``.
        image: an index along its ``image`` dimension.
        latents: which components of the site.
    """
    draws = guide_draws(path, site)
    if not 0 <= image < draws.sizes["image"]:
        remedy = f"give 0 to {draws.sizes['image'] - 1}"
        raise InvalidInput("image", image, f"is not in {path.name}", remedy)
    chosen = draws.isel(image=image, latent=list(latents), drop=True).rename(site)
    chosen = chosen.assign_coords(latent=list(latents))
    height = 0.9 + 0.24 * len(list(latents))
    arviz = _arviz()
    if _is_legacy(arviz):
        data = arviz.InferenceData(posterior=chosen.to_dataset())
        figure = Figure(figsize=(6.4, height), layout="constrained")
        axes = figure.subplots()
        arviz.plot_forest(data, var_names=[site], combined=True, ax=axes, show=False, textsize=9)
        axes.set_title("")
        axes.set_xlabel(f"{site}, draws from the guide")
        return figure
    return _forest_of_1x(arviz, chosen, height)


def _forest_of_1x(arviz: ModuleType, chosen: xr.DataArray, height: float) -> Figure:
    """1.x draws through pyplot; the figure is taken from its registry again, so that nothing global is left."""
    from matplotlib import pyplot

    tree = xr.DataTree.from_dict({"posterior": chosen.to_dataset()})
    options = {"figsize": (6.4, height), "figsize_units": "inches"}
    collection = arviz.plot_forest(tree, backend="matplotlib", combined=True, figure_kwargs=options)
    figure = collection.viz["figure"].item()
    figure.axes[-1].set_xlabel("draws from the guide")
    pyplot.close(figure)
    return figure


def ranking(study: Study) -> xr.Dataset:
    """A table like that of ``arviz.compare``, from evidence: no leave-one-out, the images are held out already.

    Members are ranked by the tightest reading (`analysis.sides.best_values`), averaged over seeds. ``log_evidence`` is
    the sum over images as ``elpd`` is, ``se`` its standard error, ``diff`` the sum of paired differences to the first
    member (at most 0, higher is better: the sign of 0.23 is the opposite) and ``dse`` its standard error, all in nats.
    ``claim`` must be read with it: among bounds a rank is not an order of truth, the verdicts say what is.

    Returns:
        Variables over ``member``, best first; members without a number common to their runs are left out.

    Raises:
        InvalidInput: no member has a number.
        Incomparable: members are about other data, images or measures.
    """
    readings, first = {}, None
    for member in study.members:
        evidence = [run.evidence for run in member.runs if run.evidence is not None]
        best = best_values(*evidence) if evidence else None
        if best is None:
            continue
        first = first or evidence[0]
        check_all_comparable([first, *evidence])
        check_comparable(first, evidence[0])
        readings[member.name] = (np.mean([v.nats for v in best], axis=0), best[0])
    if not readings:
        raise InvalidInput("study", study.path, "has no evidence", f"run {MAKERS['evidence.nc']}")
    return _ranked(
        {name: nats for name, (nats, _) in readings.items()},
        {name: in_short(v.estimator, v.claim) for name, (_, v) in readings.items()},
    )


def _ranked(nats: Mapping[str, np.ndarray], labels: Mapping[str, str]) -> xr.Dataset:
    n = min(common_images(values, values) for values in nats.values())
    names = sorted(nats, key=lambda name: -float(nats[name][:n].mean()))
    sums = [mean_and_stderr(nats[name][:n]) for name in names]
    gaps = [mean_and_stderr(nats[name][:n] - nats[names[0]][:n]) for name in names]
    columns = {
        "rank": list(range(len(names))),
        "log_evidence": [n * mean for mean, _ in sums],
        "se": [n * error for _, error in sums],
        "diff": [n * mean for mean, _ in gaps],
        "dse": [n * error for _, error in gaps],
        "claim": [labels[name] for name in names],
    }
    variables = {name: ("member", values) for name, values in columns.items()}
    return xr.Dataset(variables, coords={"member": names}, attrs={"units": "nats", "images": n})
