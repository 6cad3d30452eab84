"""Annealed importance sampling (Neal 2001, physics/9803008): a lower bound on log p(x)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ppl_models.autoencoder import NotADensity
from ppl_models.errors import InvalidInput, nearest
from ppl_models.guides import GuideProgram

from ..annealing import SCHEDULES, Block, Bridge, Pass, StateFile, Tuning, blocks_of, make_bridge, run_pass, tune
from ..annealing.build import check_latents
from ..annealing.guards import check_weights, fixed
from ..annealing.tuning import PILOT_CHAINS, start_point
from ..claims import Claim
from .base import MAX_ELEMENTS, Estimate, Estimator, evaluation_mode, positive, rows_within
from .importance import log_mean_weight
from .support import check_support

# A processor's cache holds half of what a decoder without gradients may take; an accelerator wants many rows at once.
ROWS = {"cpu": MAX_ELEMENTS // 2, "cuda": 32 * MAX_ELEMENTS}
MAX_ROWS = {"cpu": 512, "cuda": 2**16}


class Annealed(Estimator):
    """What the forward and the reverse estimator share: settings, blocks of images, tuning, the state file.

    Args:
        num_temperatures: T >= 1, the steps from beta = 0 to 1; T - 1 moves are made between them.
        num_chains: K, independent chains per image.
        start: where the path begins at beta = 0: ``"prior"`` (or ``None``), or a guide q(z | x).
        schedule: ``"sigmoid"``, ``"linear"``, or ``"adaptive"`` (constant conditional effective sample size).
        num_leapfrog: steps of one Hamiltonian move, a density and gradient each.
        seed: first part of the key of the noise.
        max_elements: bound on the elements of the largest tensor of one pass, see ``rows_within``; by default 1 MiB of
            them on a CPU.
        progress: whether to show a bar.
        state_path: a file that keeps what was computed, so that the same call goes on after a kill with equal results.
            It is removed when all is done.

    Raises:
        InvalidInput: for a number below 1, an unknown schedule, or a start that is no guide.
    """

    stem: str
    shares_work = True  # images are annealed in blocks

    def __init__(
        self,
        num_temperatures: int,
        num_chains: int = 16,
        start: GuideProgram | str | None = "prior",
        schedule: str = "sigmoid",
        num_leapfrog: int = 10,
        *,
        seed: int = 0,
        max_elements: int | None = None,
        progress: bool = False,
        state_path: Path | None = None,
    ) -> None:
        self.num_temperatures = positive("num_temperatures", num_temperatures, "T")
        self.num_particles = self.num_chains = positive("num_chains", num_chains, "K")
        if start not in (None, "prior") and not isinstance(start, nn.Module):
            raise InvalidInput("start", start, "is neither the prior nor a guide", 'give "prior" or q(z | x)')
        if schedule not in SCHEDULES:
            raise InvalidInput("schedule", schedule, "unknown schedule", nearest(str(schedule), SCHEDULES))
        self.start = start if isinstance(start, nn.Module) else None
        self.schedule, self.seed, self.progress, self.state_path = schedule, seed, progress, state_path
        self.num_leapfrog = positive("num_leapfrog", num_leapfrog, "the number of steps")
        self.max_elements = None if max_elements is None else positive("max_elements", max_elements, "the bound")
        self.name = f"{self.stem}:{self.num_temperatures}"

    @property
    def settings(self) -> str:
        """What the name does not say, in words."""
        start = "the prior" if self.start is None else f"the guide {type(self.start).__name__}"
        return f"{self.num_chains} chains from {start}, {self.schedule} schedule, {self.num_leapfrog} leapfrog steps"

    def modules(self) -> tuple[nn.Module, ...]:
        """The guide is evaluated too."""
        return () if self.start is None else (self.start,)

    def check(self, program: nn.Module) -> None:
        """Refuse a program, or a pair, before anything is computed.

        Raises:
            InvalidInput: as ``make_bridge``, and for a guide whose density is 0 where the prior's is not.
            NotADensityError: for the deterministic autoencoder.
        """
        if isinstance(program, NotADensity):
            program.refuse(self.name)
        check_latents(program)
        self.check_start(program)
        parameter = next(program.parameters(), torch.empty(()))
        x = torch.zeros(1, program.data_dim).to(parameter)
        with evaluation_mode(program, *self.modules()), fixed(x, program, *self.modules()):
            make_bridge(program, self.start, x)

    def check_start(self, program: nn.Module) -> None:
        """Refuse a guide whose density is 0 where the prior's is not: chains would leave the support of their start."""
        if self.start is not None:
            check_support(program, self.start, "start", "give it the support of the prior, or --start prior")

    def log_weights(
        self, program: nn.Module, x: Tensor, index: Sequence[int], latents: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """log w of every chain (K, N), float64, and diagnostics (N,): mean acceptance, geometric mean step size.

        Forward from the start, or reverse from ``latents`` where they are given.

        Raises:
            InvalidInput: as ``check``.
            NonFiniteError: if a weight is NaN or +infinity.
        """
        self.check_start(program)
        groups, places = self.layout(program, x)
        blocks = blocks_of(index, places)
        state = StateFile(self.state_path, self.fingerprint(program, x, index))
        result = x.new_full((3, self.num_chains, len(x)), math.nan, dtype=torch.float64)
        total = len(blocks) * len(groups) * self.num_temperatures
        with fixed(x, program, *self.modules()), tqdm(total=total, desc=self.name, disable=not self.progress) as bar:
            for number, block in enumerate(blocks):
                done = self.of_block(program, block, block.gather(x), latents, groups, state, f"{number}", bar)
                filled = torch.tensor(block.filled, device=x.device)
                result[:, :, torch.tensor(block.position, device=x.device)[filled]] = done[:, :, filled]
        state.remove()
        log_w, accepted, log_step = result
        moves = max(self.num_temperatures - 1, 1)
        return log_w, {"acceptance": accepted.mean(0) / moves, "step_size": log_step.mean(0).exp()}

    def layout(self, program: nn.Module, x: Tensor) -> tuple[list[int], int]:
        """Sizes of the groups of chains that move together, and the number of places of a block of images.

        They depend on the program and the settings and never on the images: see ``annealing.layout``.
        """
        with fixed(x, program, *self.modules()):
            multiplicity = make_bridge(program, self.start, x[:1]).multiplicity
        kind = "cuda" if x.is_cuda else "cpu"
        limit = ROWS[kind] if self.max_elements is None else self.max_elements
        rows = rows_within(limit, x.shape[-1], program, *self.modules()) // multiplicity
        rows = max(1, min(rows, MAX_ROWS[kind]))
        full, rest = divmod(self.num_chains, rows)
        groups = [rows] * full + [rest] * (rest > 0)
        return groups, max(1, rows // max(groups[0], PILOT_CHAINS))

    def of_block(
        self,
        program: nn.Module,
        block: Block,
        x: Tensor,
        latents: dict[str, Tensor] | None,
        groups: Sequence[int],
        state: StateFile,
        part: str,
        bar: tqdm,
    ) -> Tensor:
        """log w, accepted moves and mean log step of every chain of a block: (3, K, B)."""
        finished = state.get(part)
        if finished is not None:
            bar.update(len(groups) * self.num_temperatures)
            return finished["result"]
        bridge = make_bridge(program, self.start, x)
        key = (self.seed, "annealing", self.num_temperatures)
        tuning = tune(bridge, key, block.index, self.num_temperatures, self.schedule, self.num_leapfrog)
        begin = None
        if latents is not None:
            begin = bridge.unconstrained({name: block.gather(latents[name]) for name in bridge.sites})
        rows = []
        for group, size in enumerate(groups):
            own = f"{part} group {group}"
            passed = self.of_group(bridge, tuning, block, (group, size), begin, state, own, bar)
            check_weights(self.name, bridge, passed, block.index)
            rows.append(torch.stack([passed.log_weight, passed.accepted.double()]))
        both = torch.cat(rows, 1)
        log_step = tuning.steps(tuning.betas).log().mean((0, 2)).double().expand_as(both[:1])
        result = torch.cat([both, log_step])
        for group in range(len(groups)):
            state.content.pop(f"{part} group {group}", None)
        state.put(part, {"result": result})
        return result

    def of_group(
        self,
        bridge: Bridge,
        tuning: Tuning,
        block: Block,
        group: tuple[int, int],
        begin: Tensor | None,
        state: StateFile,
        part: str,
        bar: tqdm,
    ) -> Pass:
        """The counted pass of one group of chains."""
        number, size = group
        key = (self.seed, self.name, "group", number)
        kept = state.get(part)
        if kept is not None:
            current = Pass.of_state(kept)
        elif begin is None:
            current = Pass.begin(start_point(bridge, key, block.index, size))
        else:
            current = Pass.begin(bridge.at(begin.expand(size, *begin.shape).contiguous()))
        bar.update(current.visited)
        shown = current.visited

        def after(reached: Pass) -> None:
            nonlocal shown
            bar.update(reached.visited - shown)
            shown = reached.visited
            state.put(part, reached.state())

        return run_pass(
            bridge, tuning, current, key, block.index, self.num_leapfrog, reverse=begin is not None, after=after
        )

    def fingerprint(self, program: nn.Module, x: Tensor, index: Sequence[int]) -> str:
        """A digest of all that the numbers depend on."""
        digest = blake2b(digest_size=16)
        digest.update(repr((self.name, self.settings, self.seed, self.max_elements, list(map(int, index)))).encode())
        digest.update(repr((x.device.type, x.dtype, tuple(x.shape))).encode())
        weights = [value for module in (program, *self.modules()) for value in module.state_dict().values()]
        for tensor in (x, *(value for value in weights if isinstance(value, Tensor))):
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def summary(self, log_w: Tensor, claim: Claim, diagnostics: dict[str, Tensor], sign: int = 1) -> Estimate:
        """sign * log mean_k w_k^sign per image, with its error."""
        rows = [log_mean_weight(sign * column) for column in log_w.unbind(-1)]
        columns = {key: torch.stack([row[key] for row in rows]) for key in rows[0]} | diagnostics
        columns = {key: value.to(torch.get_default_dtype()) for key, value in columns.items()}
        value, stderr = sign * columns.pop("value"), columns.pop("stderr")
        return Estimate(value, claim, stderr, diagnostics=columns)


class AnnealedImportance(Annealed):
    """The lower bound log 1/K sum_k w_k of K annealed chains per image, from the prior or a guide to p(x, z).

    A chain's weight has expectation E[w] = p(x), whatever the moves' tuning, as long as they leave their distribution
    invariant and the tuning does not look at the chain (Neal 2001). So by Jensen's inequality E[log 1/K sum_k w_k] <=
    log p(x), and the difference vanishes as T grows. The standard error is that of the logarithm of the mean weight to
    first order, sqrt(1/ESS - 1/K), NaN for one chain. Diagnostics: ``ess`` and ``pareto_k`` of the K weights,
    ``acceptance``, ``step_size`` (the geometric mean over coordinates and temperatures).

    The path is geometric, f_beta = start^(1 - beta) p(x, z)^beta. A move is Hamiltonian with a Metropolis test, its
    step per image, coordinate and temperature tuned by a pilot of other chains and then frozen.

    Arguments as ``Annealed``. One image costs (T - 1) * num_leapfrog * K gradients, and up to 16 * 146 * num_leapfrog
    more for the pilot.
    """

    stem, claim = "ais", Claim.LOWER_BOUND

    def estimate(self, program: nn.Module, x: Tensor, index: Sequence[int]) -> Estimate:
        """Log-mean-exp of the chains' weights.

        Raises:
            InvalidInput: for a program without latents, or with discrete ones alone.
            NonFiniteError: if a weight is NaN or +infinity.
        """
        log_w, diagnostics = self.log_weights(program, x, index)
        return self.summary(log_w, self.claim, diagnostics)
