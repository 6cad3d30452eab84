"""Generate images from a run's program, or the missing pixels of given ones.

python -m inference.sample runs/made --num 64
python -m inference.sample runs/made --given half.npz --num 8
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn

from ppl_models.autoencoder import NotADensity
from ppl_models.distributions import Autoregressive, MixtureOfOrders
from ppl_models.errors import InvalidInput, nearest
from ppl_models.program import LatentProgram, TractableProgram

from .claims import Claim
from .cli import parse, run_script
from .completion import BATCH, Completion, complete
from .completion_plan import METHODS
from .device import resolve_device
from .estimators import evaluation_mode
from .estimators.base import positive
from .image_files import read_given, write_completions, write_samples
from .randomness import keyed_noise
from .run import Run, load_run, runs_in
from .user_guides import find_guide


def generate(
    program: nn.Module,
    num: int,
    *,
    method: str = "auto",
    seed: int = 0,
    device: str = "cpu",
    block: int | None = None,
    batch: int | None = None,
    progress: bool = False,
) -> tuple[Tensor, str]:
    """Images (num, D) drawn from the program, and the method that drew them.

    Args:
        program: what is drawn from.
        num: number of images.
        method, block, batch, progress: as for ``Autoregressive.sample``, for programs that have such a distribution.
        seed: of the noise.
        device: where the program is.

    Raises:
        NotADensityError: for the deterministic autoencoder: it has no distribution to draw from.
        InvalidInput: for num < 1, or a sampler or an option of one that the program does not have.
    """
    if isinstance(program, NotADensity):
        program.refuse("sampling")
    if num < 1:
        raise InvalidInput("--num", num, "must be at least 1", "give a number of images")
    with evaluation_mode(program), keyed_noise(seed, "sample", device=device):
        distribution, shape = pixel_by_pixel(program, num)
        if distribution is not None:
            used = distribution.sampler(method, rows=min(num, batch or num))
            if block is not None and used != "fixed-point":
                raise InvalidInput("--block", block, f"the {used} sampler has no blocks", "add --method fixed-point")
            if batch is not None and not shape:
                raise InvalidInput("--batch", batch, "a hybrid draws its images together", "leave it out")
            options = {"method": method, "block": block, "batch": batch, "progress": progress}
            return distribution.sample(shape, **options), used
        together = f"{type(program).__name__} draws its pixels together"
        if method not in ("auto", "ancestral"):
            raise InvalidInput("--method", method, together, "use auto")
        for option, value in (("--block", block), ("--batch", batch)):
            if value is not None:
                raise InvalidInput(option, value, together, "leave it out")
        return program(size=num), "ancestral"


def pixel_by_pixel(program: nn.Module, num: int) -> tuple[Autoregressive | MixtureOfOrders | None, torch.Size]:
    """The distribution that draws one pixel after the other, and the shape to draw: of the program, or of a hybrid
    under ``num`` draws of its latents; ``None`` for programs that draw all pixels together."""
    if isinstance(program, TractableProgram):
        distribution, shape = program.distribution(), torch.Size((num,))
    elif isinstance(program, LatentProgram):
        shape = torch.Size()
        distribution = program.likelihood(program.prior().sample(torch.Size((num,))))
    else:
        return None, torch.Size()
    known = isinstance(distribution, Autoregressive | MixtureOfOrders)
    return (distribution if known else None), shape


def sample(run: Run, num: int, *, method: str = "auto", seed: int = 0, device: str = "cpu", **options: Any) -> Tensor:
    """Generate images and write ``samples.nc`` and ``samples.png`` into the run folder; options as for
    ``generate``."""
    start = time.monotonic()
    images, used = generate(run.program, num, method=method, seed=seed, device=device, **options)
    attrs = {"method": used, "seconds": time.monotonic() - start, "sampling_seed": seed}
    write_samples(run.path, images, run.config, attrs)
    return images


def fill_in(
    run: Run,
    given: Path | str,
    num: int,
    *,
    particles: int = 256,
    method: str = "auto",
    seed: int = 0,
    batch: int = BATCH,
    progress: bool = False,
) -> Completion:
    """Complete the images of an ``.npz`` and write ``completions.nc`` and ``completions.png`` into the run folder.

    Args:
        run: whose program draws.
        given: a file with ``x`` and ``observed``, see ``read_given``.
        num: completions per image.
        particles, method, seed, batch, progress: as for ``complete``.

    Raises:
        NotADensityError, InvalidInput: as ``complete`` and ``read_given``.
    """
    start = time.monotonic()
    x, observed = read_given(Path(given), run.config["data_dim"])
    completion = complete(
        run.program, x, observed, num_draws=num, particles=particles, seed=seed, method=method, batch=batch,
        progress=progress,
    )  # fmt: skip
    attrs = {"method": method, "particles": particles, "seconds": time.monotonic() - start, "sampling_seed": seed}
    write_completions(run.path, x, completion, run.config, attrs)
    return completion


def summary(completion: Completion, particles: int) -> str:
    """How many images were completed by what right, and how far the particles were used up."""
    draws, images = completion.x.shape[:2]
    claims = Counter(str(claim) for claim in completion.claim)
    line = f"{images} images x {draws} completions, claim {', '.join(f'{c} ({n})' for c, n in claims.items())}"
    if Claim.ESTIMATE in completion.claim:
        ess, lineages = (values[~values.isnan()].min().item() for values in (completion.ess, completion.lineages))
        line += f", smallest effective sample size {ess:.1f} of {particles}, from {lineages:.1f} lineages at least"
    return line


def parser() -> ArgumentParser:
    """The options of this script."""
    p = ArgumentParser(prog="python -m inference.sample", exit_on_error=False, allow_abbrev=False, description=__doc__)
    p.add_argument("run", help="a run folder, or one that holds seed-S folders")
    p.add_argument("--num", type=int | None, default=None, help="64 images, or 8 completions of each given one")
    p.add_argument(
        "--method",
        default="auto",
        help="auto, sequential, fixed-point or cached for autoregressive programs; with --given auto, exact or smc",
    )
    p.add_argument("--block", type=int | None, default=None, help="pixels per block of the fixed point")
    p.add_argument("--batch", type=int | None, default=None, help="most images, or particles, drawn at a time")
    p.add_argument("--given", default=None, help=".npz with x and observed (1 where given): draw the missing pixels")
    p.add_argument("--particles", type=int | None, default=None, help="with --given, where it is not exact; 256")
    p.add_argument("--guide", default=None, help="FILE_OR_MODULE:CLASS, where the prior is made from your own guide")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--device", default="auto")
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    return p


def check_options(options: Any) -> None:
    """Raise ``InvalidInput`` for counts below 1 and for options that do not go together."""
    for name in ("block", "batch", "particles"):
        if getattr(options, name) is not None:
            positive(f"--{name}", getattr(options, name), "it")
    if options.given is None:
        if options.particles is not None:
            raise InvalidInput("--particles", options.particles, "belongs to --given", "add --given FILE.npz")
        return
    if options.num is not None:
        positive("--num", options.num, "it")
    if options.block is not None:
        raise InvalidInput("--block", options.block, "does not apply to --given", "leave it out")
    if options.method not in METHODS:
        problem = "does not apply to --given"
        raise InvalidInput("--method", options.method, problem, nearest(options.method, METHODS))


def main(argv: Sequence[str]) -> None:
    """Sample what the command line asks for."""
    options: Any = parse(parser(), argv)
    check_options(options)
    device = resolve_device(options.device)
    guide = find_guide(options.guide) if options.guide else None
    shared = {"method": options.method, "seed": options.seed, "progress": not options.quiet}
    for folder in runs_in(options.run):
        run = load_run(folder, guide, device=device, program_only=True)
        start = time.monotonic()
        if options.given is None:
            num = 64 if options.num is None else options.num
            sample(run, num, device=device, block=options.block, batch=options.batch, **shared)
            line = f"{folder}/samples.nc and samples.png: {num} images"
        else:
            num, particles = options.num or 8, options.particles or 256
            completion = fill_in(run, options.given, num, particles=particles, batch=options.batch or BATCH, **shared)
            line = f"{folder}/completions.nc and completions.png: {summary(completion, particles)}"
        print(f"{line} in {time.monotonic() - start:.2f} s")


if __name__ == "__main__":
    run_script(main)
    sys.exit(0)
