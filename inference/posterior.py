"""Draw from p(z | x) of chosen images by NUTS, and hold the guide against it.

python -m inference.posterior runs/vae --images 0 1 2
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import scipy  # loads its parts where they are used: together they take a second
import torch
import xarray as xr
from jsonargparse import ArgumentParser
from pyro.ops.stats import effective_sample_size, split_gelman_rubin

from ppl_models.errors import InvalidInput

from .cli import parse, run_script
from .data import ImageData, load_data
from .evaluate import images_of
from .evidence_file import attributes
from .nuts import check_continuous, sample_posterior
from .posterior_file import guide_draws, posterior_tree, write_posterior
from .run import Run, load_run, runs_in
from .user_guides import find_guide

# Of the columns of the table.
WIDTHS = (6, 6, 6, 6, 15, 14, 12)


def posterior(
    run: Run,
    data: ImageData,
    images: Sequence[int],
    *,
    split: str = "test",
    chains: int = 4,
    warmup: int = 500,
    draws: int = 500,
    seed: int = 0,
    jobs: int = 1,
    progress: bool = False,
) -> xr.DataTree:
    """NUTS on p(z | x) of the images with these indices in the split; write ``posterior.nc`` and return the tree.

    Args:
        run: on the CPU.
        images: indices, each once.
        split: train, valid or test.
        chains, warmup, draws, seed, jobs, progress: as for ``sample_posterior``. The guide is drawn from as often.

    Raises:
        InvalidInput: for images that are not in the split or given twice, too few draws for R-hat, or a program without
            continuous latents.
        NotADensityError: for the deterministic autoencoder.
    """
    x, _ = images_of(run, data, split, None, "cpu")
    x = chosen(x, images, split)
    if draws < 4:
        raise InvalidInput("--draws", draws, "two halves of a chain have a variance each", "give at least 4")
    summed_out = check_continuous(run.program, x)
    start = time.monotonic()
    found = sample_posterior(
        run.program, x, images, chains=chains, warmup=warmup, draws=draws, seed=seed, jobs=jobs, progress=progress
    )
    guide = guide_draws(run.program, run.guide, x, images, chains * draws, seed)
    attrs = attributes(run.config, split, run.epoch)
    attrs |= {"inference_library": "pyro", "sampler": "NUTS", "sampling_seed": seed, "warmup": warmup}
    attrs |= {"seconds": time.monotonic() - start, "summed_out": " ".join(summed_out)}
    tree = posterior_tree(found, guide, x, images, run.config, attrs)
    write_posterior(run.path / "posterior.nc", tree)
    return tree


def chosen(x: torch.Tensor, images: Sequence[int], split: str) -> torch.Tensor:
    """The images with these indices.

    Raises:
        InvalidInput: naming one that is not there or is there twice.
    """
    for image in images:
        if not 0 <= image < len(x):
            raise InvalidInput("--images", image, f"{split} has {len(x)} images", f"give 0 to {len(x) - 1}")
        if list(images).count(image) > 1:
            raise InvalidInput("--images", image, "is given twice", "give each image once")
    return x[list(images)]


def table(tree: xr.DataTree) -> str:
    """A line per image: whether the chains agree, and how far the guide is from them, over its latents."""
    titles = ("image", "worst", "least", "diver-", "guide: mean off", "s.d. ratio to", "Wasserstein,")
    below = ("", "R-hat", "ESS", "gent", "at most, s.d.", "NUTS", "mean, s.d.")
    header = [" ".join(f"{word:>{width}}" for word, width in zip(row, WIDTHS, strict=True)) for row in (titles, below)]
    return "\n".join([*header, *(_line(tree, int(image)) for image in tree["posterior"].image.values)])


def _line(tree: xr.DataTree, image: int) -> str:
    drawn, guide = (_matrix(tree[group].to_dataset().sel(image=image)) for group in ("posterior", "guide"))
    tensor = torch.as_tensor(drawn)
    r_hat = split_gelman_rubin(tensor, 0, 1).max().item()
    ess = effective_sample_size(tensor, 0, 1).min().item()
    divergent = int(tree["sample_stats"].to_dataset().sel(image=image)["diverging"].sum())
    nuts, guide = drawn.reshape(-1, drawn.shape[-1]), guide.reshape(-1, drawn.shape[-1])
    scale = nuts.std(0)
    distances = np.array([scipy.stats.wasserstein_distance(a, b) for a, b in zip(nuts.T, guide.T, strict=True)])
    with np.errstate(divide="ignore", invalid="ignore"):  # chains that never moved: inf, with an R-hat of NaN
        off = np.abs(guide.mean(0) - nuts.mean(0)) / scale
        ratio, distance = guide.std(0) / scale, (distances / scale).mean()
    span = f"{ratio.min():.2f} to {ratio.max():.2f}"
    draws = f"{ess:.0f}" if ess > 0 else "-"  # of a few draws that alternate the estimate may come out negative
    cells = (image, f"{r_hat:.3f}", draws, divergent, f"{off.max():.2f}", span, f"{distance:.3f}")
    return " ".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True))


def _matrix(group: xr.Dataset) -> np.ndarray:
    """All latents of one image beside each other: (chain, draw, L), float64."""
    arrays = [variable.values.reshape(*variable.shape[:2], -1) for variable in group.data_vars.values()]
    return np.concatenate(arrays, -1).astype(float)


def parser() -> ArgumentParser:
    """The options of this script."""
    p = ArgumentParser(
        prog="python -m inference.posterior", exit_on_error=False, allow_abbrev=False, description=__doc__
    )
    p.add_argument("run", help="a run folder, or one that holds seed-S folders")
    p.add_argument("--images", nargs="+", type=int, required=True, help="indices in the split")
    p.add_argument("--split", default="test", help="test, valid or train")
    p.add_argument("--chains", type=int, default=4, help="per image")
    p.add_argument("--warmup", type=int, default=500, help="steps of each chain that tune it and are thrown away")
    p.add_argument("--draws", type=int, default=500, help="of each chain")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--jobs", type=int | None, default=None, help="chains side by side; as many as there are cores")
    p.add_argument("--data", default=None, help="where the run's data lie now, if it was an .npz that was moved")
    p.add_argument("--data-dir", type=str | None, default=None, help="where larger data sets lie; else $PPL_DATA")
    p.add_argument("--guide", default=None, help="FILE_OR_MODULE:CLASS of a run with a guide of your own")
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    return p


def main(argv: Sequence[str]) -> None:
    """Sample what the command line asks for."""
    options: Any = parse(parser(), argv)
    guide = find_guide(options.guide) if options.guide else None
    for folder in runs_in(options.run):
        run = load_run(folder, guide)
        data = load_data(options.data or run.config["data"], Path(options.data_dir) if options.data_dir else None)
        tree = posterior(
            run, data, options.images, split=options.split, chains=options.chains, warmup=options.warmup,
            draws=options.draws, seed=options.seed, jobs=joblib.cpu_count() if options.jobs is None else options.jobs,
            progress=not options.quiet,
        )  # fmt: skip
        seconds = tree["posterior"].attrs["seconds"]
        print(f"{folder}/posterior.nc: {options.chains} chains of {options.draws} draws per image in {seconds:.0f} s")
        print(table(tree))
        print(warnings(tree))


def warnings(tree: xr.DataTree) -> str:
    """What to make of chains that diverged or disagree; nothing that is wrong goes unsaid."""
    divergent = int(tree["sample_stats"]["diverging"].sum())
    advice = "R-hat below 1.01 and ESS above 400 are wanted before the guide is blamed"
    if divergent:
        return f"{divergent} divergent transitions: these chains miss part of the posterior; {advice}"
    return f"no divergent transition; {advice}"


if __name__ == "__main__":
    run_script(main)
    sys.exit(0)
