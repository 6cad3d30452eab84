"""Score a run's program on images it was not trained on, and write what was found with its claims.

python -m inference.evaluate runs/vae --estimators elbo:64 iw:5000
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from jsonargparse import ArgumentParser
from torch import Tensor
from tqdm import tqdm

from ppl_models.autoencoder import REASON, NotADensity
from ppl_models.errors import InvalidInput
from ppl_models.guides import GuideProgram

from .calibration.ranks import check_pair
from .calibration.script import calibrate_run, calibration_options
from .claims import Claim
from .cli import parse, run_script, take_prefixed
from .data import ImageData, load_data
from .device import resolve_device
from .estimators import AnnealingOptions, Estimate, Estimator, evaluation_mode, parse_estimator
from .estimators.annealed import Annealed
from .evidence_file import Row, attributes, check_identity, evidence_name, has_answer, read_evidence, write_evidence
from .evidence_table import print_evidence
from .gaps import GapSettings, check_gap, gap_of_run, gap_path, gap_settings, gap_table, read_gap
from .image_files import write_reconstructions
from .latents_file import write_latents
from .measures import check_latents, collapse_table, measure_run
from .run import Run, load_run, runs_in
from .sandwich import sandwich_of_run
from .user_guides import find_guide

IMAGES_SHOWN = 40


def images_of(run: Run, data: ImageData, split: str, limit: int | None, device: str) -> tuple[Tensor, list[int]]:
    """The images to score, (N, D), with their indices in the split.

    Raises:
        InvalidInput: if the data are not those of the training, or the limit is below 1.
    """
    if data.digest != run.config["data_digest"]:
        remedy = "evaluate on the data set of the training"
        raise InvalidInput(
            "--data",
            data.name,
            f"the run was trained on {run.config['data']} of another digest",
            remedy,
        )
    if limit is not None and limit < 1:
        raise InvalidInput("--limit", limit, "must be at least 1", "give a number of images")
    x = data.split(split)[:limit]
    return x.to(device), list(range(len(x)))


def score(estimator: Estimator, run: Run, x: Tensor, index: Sequence[int], progress: bool = False) -> Row:
    """One estimator on all images, in slices so that the progress can be shown."""
    start = time.monotonic()
    if isinstance(estimator, Annealed):  # it shows its own progress, and goes on after a kill
        estimator.progress = progress
        estimator.state_path = run.path / f"{estimator.name.replace(':', '-')}.state"
    parts: list[Estimate] = []
    slices = range(0, len(x), len(x) if estimator.shares_work else max(1, len(x) // 100))
    step = slices.step
    for begin in tqdm(slices, desc=estimator.name, disable=not progress or isinstance(estimator, Annealed)):
        parts.append(estimator(run.program, x[begin : begin + step], index[begin : begin + step]))
    seconds = time.monotonic() - start
    return Row(estimator.name, estimator.num_particles, joined(parts), seconds=seconds, settings=estimator.settings)


def joined(parts: Sequence[Estimate]) -> Estimate:
    """Estimates of successive slices of images as one."""
    first = parts[0]
    stderr = None if first.stderr is None else torch.cat([part.stderr for part in parts])
    diagnostics = {key: torch.cat([part.diagnostics[key] for part in parts]) for key in first.diagnostics}
    return Estimate(
        torch.cat([part.values for part in parts]),
        first.claim,
        stderr,
        first.tolerance,
        diagnostics,
    )


def evaluate(run: Run, data: ImageData, names: Sequence[str], *, split: str = "test", limit: int | None = None,
             device: str = "cpu", overwrite: bool = False, progress: bool = False,
             annealing: AnnealingOptions | None = None, gap: GapSettings | None = None,
             resume: bool = False) -> xr.Dataset:  # fmt: skip
    """Score a run by named estimators and write ``evidence.nc``, ``latents.nc`` and ``reconstructions.nc``; of another
    split than ``test``, ``evidence-SPLIT.nc`` alone. ``bdmc:T`` is no estimator of given images: it simulates some,
    brackets them by ``ais:T`` and ``bdmc:T``, and writes ``sandwich.nc``, which is returned if nothing else was asked.
    With ``gap``, the gap of the ELBO is split on these images, and ``gap.nc`` written. ``resume`` keeps what is
    there and answers the same question; each estimator's numbers are written as soon as they are there.

    Raises:
        NotADensityError: for the deterministic autoencoder.
        InvalidInput: for a name that is unknown or that the program does not admit, or other data than the run's.
    """
    annealing, seed = annealing or AnnealingOptions(), run.config["seed"]
    parsed = [
        parse_estimator(name, run.program, run.guide, seed=seed, annealing=annealing) for name in dict.fromkeys(names)
    ]
    estimators = [estimator for estimator in parsed if estimator.claim is not Claim.UPPER_BOUND]
    reverse = [e.num_temperatures for e in parsed if e.claim is Claim.UPPER_BOUND]
    x, index = images_of(run, data, split, limit, device)
    path, attrs = run.path / evidence_name(split), attributes(run.config, split, run.epoch)
    if path.is_file() and not overwrite:
        check_identity(path, read_evidence(path).attrs, attrs)
    if gap is not None:
        check_gap(run, x, gap_path(run.path, split), gap, overwrite=overwrite, resume=resume)
    keep = resume and not overwrite
    asked = [e for e in estimators if not (keep and has_answer(path, attrs, e, index))]
    for position, estimator in enumerate(asked):  # each row is safe once it is there, whatever stops the next
        row = score(estimator, run, x, index, progress)
        write_evidence(path, [row], index, attrs, overwrite=overwrite and position == 0)
    if reverse:
        bounds = sandwich_of_run(run, reverse, annealing, overwrite=overwrite, resume=keep, progress=progress)
    dataset = read_evidence(path) if estimators else bounds
    if estimators and split == "test":  # the pictures of a run are of its test images, whatever else is scored later
        write_pictures(run, x, index)
    if gap is not None:
        gap_of_run(run, x, index, split, path, gap, resume=resume, progress=progress)
    return dataset


def write_refusal(run: Run, data: ImageData, names: Sequence[str], *, split: str = "test") -> None:
    """What a study writes for a baseline without a density: claim ``none``, NaN and the reason; and its
    reconstructions."""
    x, index = images_of(run, data, split, None, "cpu")
    rows = [Row(name, reason=REASON) for name in names]
    path, attrs = run.path / evidence_name(split), attributes(run.config, split, run.epoch)
    write_evidence(path, rows, index, attrs, overwrite=True)
    if split == "test":
        write_pictures(run, x, index)


def write_pictures(run: Run, x: Tensor, index: Sequence[int]) -> None:
    """The first images beside their reconstructions, for a pair with codes."""
    x, index = x[:IMAGES_SHOWN], index[:IMAGES_SHOWN]
    if isinstance(run.program, NotADensity):
        with evaluation_mode(run.program):
            means = run.program.reconstruct(x)
    elif run.guide is not None:
        means = write_latents(run.path / "latents.nc", run.program, run.guide, x, index, run.config)
    else:
        return
    write_reconstructions(run.path / "reconstructions.nc", index, x, means, run.config)


def parser() -> ArgumentParser:
    """The options of this script."""
    p = ArgumentParser(
        prog="python -m inference.evaluate", exit_on_error=False, allow_abbrev=False, description=__doc__
    )
    p.add_argument("run", help="a run folder, or one that holds seed-S folders")
    p.add_argument(
        "--estimators", nargs="+", default=(),
        help="exact, elbo:K, iw:K, ais:T, bdmc:T, ...; not needed with --collapse or --sbc",
    )  # fmt: skip
    p.add_argument("--split", default="test", help="test, valid or train")
    p.add_argument("--limit", type=int | None, default=None, help="only the first so many images of the split")
    p.add_argument("--data", default=None, help="where the run's data lie now, if it was an .npz that was moved")
    p.add_argument("--data-dir", type=str | None, default=None, help="where larger data sets lie; else $PPL_DATA")
    p.add_argument(
        "--guide", default=None, help="FILE_OR_MODULE:CLASS of a run that was trained with a guide of your own",
    )  # fmt: skip
    p.add_argument("--gap", action="store_true", help="split the ELBO's gap into family and encoder: gap.nc")
    p.add_argument("--sbc", action="store_true", help="simulation-based calibration of the guide: calibration.nc")
    p.add_argument("--chains", type=int, default=16, help="ais, bdmc: chains per image")
    p.add_argument("--start", default="prior", help="ais, bdmc: where the path begins, prior or guide")
    p.add_argument("--schedule", default="sigmoid", help="ais, bdmc: sigmoid, linear or adaptive")
    p.add_argument("--leapfrog", type=int, default=10, help="ais, bdmc: steps of one Hamiltonian move")
    p.add_argument("--simulated", type=int, default=100, help="bdmc: how many images to simulate")
    p.add_argument("--collapse", action="store_true", help="how much the latents carry: collapse.nc")
    p.add_argument("--device", default="auto")
    p.add_argument("--overwrite", action="store_true", help="forget the evidence that is there")
    p.add_argument("--resume", action="store_true", help="keep the evidence that is there by the same settings")
    p.add_argument("--quiet", action="store_true")
    return p


def main(argv: Sequence[str]) -> None:
    """Evaluate what the command line asks for."""
    argv, prefixed = take_prefixed(argv, ["sbc", "gap"])
    options: Any = parse(parser(), argv)
    sbc = calibration_options(options.sbc, prefixed["sbc"])
    gap = gap_settings(options.gap, prefixed["gap"], bool(options.estimators))
    if not (options.estimators or options.sbc or options.collapse):
        raise InvalidInput("--estimators", "", "required and not given", "name some: elbo:64 iw:5000, or exact")
    if options.overwrite and options.resume:
        raise InvalidInput("--resume", True, "contradicts --overwrite, which forgets what is there", "give one of them")
    annealing = AnnealingOptions(options.chains, options.start, options.schedule, options.leapfrog, options.simulated)
    device = resolve_device(options.device)
    guide: type[GuideProgram] | None = find_guide(options.guide) if options.guide else None
    for folder in runs_in(options.run):
        run = load_run(folder, guide, device)
        if sbc is not None:
            check_pair(run.program, run.guide)
        if options.collapse:
            check_latents(run.program, run.guide)
        data = load_data(options.data or run.config["data"], Path(options.data_dir) if options.data_dir else None)
        images_of(run, data, options.split, options.limit, "cpu")  # refuses before anything is computed
        if options.estimators:
            dataset = evaluate(
                run, data, options.estimators, split=options.split, limit=options.limit, device=device, gap=gap,
                overwrite=options.overwrite, resume=options.resume, progress=not options.quiet, annealing=annealing,
            )  # fmt: skip
            print_evidence(folder, dataset, options.estimators)
        if gap is not None:
            print(gap_table(read_gap(gap_path(folder, options.split))))
        if sbc is not None:
            print(calibrate_run(run, progress=not options.quiet, **sbc))
        if options.collapse:
            print(f"{folder}: what the latents of {run.config['program']} carry, {options.split} split")
            where = {"split": options.split, "limit": options.limit, "device": device}
            print(collapse_table(measure_run(run, data, progress=not options.quiet, **where)))


if __name__ == "__main__":
    run_script(main)
    sys.exit(0)
