"""What training and saving ask of a guide: gradients, its state, precision, and bounds that hold."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from ..errors import InvalidInput
from . import building
from .guide_checks import GuideSubject
from .linear_gaussian import LinearGaussian, stages
from .report import Failure, Skip, holm
from .sampler import LEVEL
from .state import (
    check_dtypes,
    check_outside,
    check_same_noise,
    check_saved,
    check_store_empty,
    silent_parameters,
    trainable,
)
from .traces import check_close, drawn, score, trace_of

# Groups of draws whose gradients are compared, and draws per group.
GROUPS, DRAWS = 20, 200
EXPRESSIBLE = ("normal", "diagonal normal")
BOUND_ROUNDING, LARGEST_GAP = 1e-3, 0.01


def check_gradients(s: GuideSubject) -> str | None:
    """A gradient of the ELBO reaches every parameter, by the draws or by the score function."""
    guide, program = s.pair(mine=True)
    silent = set(trainable(guide))
    if not silent:
        return "it has no parameters"
    elbo = Trace_ELBO(num_particles=8, vectorize_particles=True, max_plate_nesting=1)
    for attempt in range(2):
        if attempt:  # where weights start at zero, nothing reaches those behind them
            building.jitter(guide)
        guide.train()
        silent &= silent_parameters(guide, elbo.differentiable_loss(program, guide, s.x))
    if silent:
        names = ", ".join(sorted(silent)[:5])
        raise Failure(
            f"no gradient reaches {names}: use it in posterior(x) without detach, .data, no_grad or rounding, or "
            "register it as a buffer"
        )
    return None


def check_reparameterized(s: GuideSubject) -> str | None:
    """Where draws claim a gradient (``has_rsample``), it is that of E_q[f(z)], as the score function has it.

    f is a sum of sines of the draws. Group by group, d/dphi E_q[f] is estimated through the draws and by
    E_q[(f - c) d log q(z) / dphi]; the differences must be zero on average (Student's t, Holm over parameters).
    """
    from scipy.stats import t as student_t  # here: importing scipy sets warning filters

    guide, program = s.pair()
    trace = trace_of(guide, s.x)
    claims = [bool(trace.nodes[name]["fn"].has_rsample) for name in program.latents]
    if not any(claims):
        return "declared not: trained by the score function"
    if not all(claims) or any(trace.nodes[name]["fn"].support.is_discrete for name in program.latents):
        raise Skip("some of its sites have no gradient through the draws")
    own = trainable(guide)
    if not own:
        return "it has no parameters"
    through, by_score = _two_gradients(guide, s.x, own)
    differences = through - by_score
    # Gradients that agree to rounding have no spread to be measured by.
    rounding = 1e-4 * (through.abs().mean(0) + by_score.abs().mean(0)) + 1e-12
    statistic = differences.mean(0).abs() / (differences.std(0) / GROUPS**0.5).clamp(min=rounding)
    rejected = holm([float(2 * student_t.sf(value, GROUPS - 1)) for value in statistic.tolist()], LEVEL)
    if rejected:
        name = list(own)[rejected[0]]
        carries = any(node_value.requires_grad for node_value in drawn(trace).values())
        how = "is not that of log_prob" if carries else "is missing, and log_prob has one"
        raise Failure(
            f"has_rsample is True, but the gradient through the draws for {name!r} {how}: make rsample a "
            "differentiable function of noise (no detach, .data or no_grad), or set has_rsample = False"
        )
    return None


def _two_gradients(guide: nn.Module, x: Tensor, own: dict[str, nn.Parameter]) -> tuple[Tensor, Tensor]:
    """Through the draws, and by the score, along one random direction per parameter: (groups, parameters) each."""
    parameters = list(own.values())
    directions = [torch.randn_like(p) for p in parameters]
    waves: list[Tensor] = []
    baseline: Tensor | float = 0.0
    through, by_score = [], []
    for group in range(GROUPS + 1):
        values = drawn(trace_of(guide, x, particles=(DRAWS,)))
        f = _waves(values, waves)
        fixed = {name: value.detach() for name, value in values.items()}
        log_q = score(guide, x, fixed, particles=(DRAWS,))
        if group:  # the first group only gives the baseline
            through.append(_along(f.mean(0).sum(), parameters, directions))
            by_score.append(_along(((f.detach() - baseline) * log_q).mean(0).sum(), parameters, directions))
        baseline = f.detach().mean(0) if not group else baseline
    return torch.stack(through), torch.stack(by_score)


def _waves(values: dict[str, Tensor], waves: list[Tensor]) -> Tensor:
    """A smooth function of the draws: (K, N). Frequencies and phases are made at the first call."""
    flat = torch.cat([value.flatten(2) for value in values.values()], -1)
    if not waves:
        spread = flat.detach().flatten(0, 1).std(0).clamp(min=1e-6)
        waves += [torch.randn_like(spread) / spread, 3 * torch.rand_like(spread)]
    return (flat * waves[0] + waves[1]).sin().sum(-1)


def _along(total: Tensor, parameters: Sequence[Tensor], directions: Sequence[Tensor]) -> Tensor:
    """Directional derivatives of a number: (parameters,)."""
    if not total.requires_grad:
        return torch.zeros(len(parameters), dtype=total.dtype, device=total.device)
    found = torch.autograd.grad(total, list(parameters), allow_unused=True)
    return torch.stack(
        [total.new_zeros(()) if g is None else (g * d).sum().to(total) for g, d in zip(found, directions, strict=True)]
    )


def check_state(s: GuideSubject) -> None:
    """A fresh instance that loads the saved state gives the same posterior: also after training has moved things."""
    guide, program = s.pair(mine=True)
    building.jitter(guide)
    for _ in range(3):  # running statistics move in training mode
        guide.train()(s.x)
    guide.eval()
    fresh = building.fresh_guide(guide, s.data, program_latent_dim(s), s.options)
    building.check_same_state(fresh, guide, s.options)
    fresh.bind(program)
    check_saved(guide, fresh)
    guide.bind(program)
    values = drawn(trace_of(guide, s.x))
    expected = score(guide, s.x, values)
    fresh.bind(program)
    otherwise = (
        "a fresh instance that loads its state_dict gives another posterior: keep every number it learns or draws at "
        "random in an nn.Parameter or register_buffer"
    )
    check_close(score(fresh, s.x, values), expected, otherwise)


def program_latent_dim(s: GuideSubject) -> int | tuple[int, ...]:
    """L, as the pair's own attributes tell it."""
    found = getattr(s.guide, "latent_dim", getattr(s.program, "latent_dim", None))
    if found is None:
        raise Skip("neither guide nor program tells its latent_dim, so that no other can be built")
    return found


def check_copy(s: GuideSubject) -> None:
    """A deep copy gives the same posterior and shares nothing with the original."""
    if s.error is not None:
        raise Failure(
            f"copy.deepcopy fails with {type(s.error).__name__}: {s.error}; keep no tensors with a gradient history, "
            "files or lambdas on self"
        )
    first, program = s.pair()
    second = building.copied((first, program))[0]
    values = drawn(trace_of(first, s.x))
    expected = score(first, s.x, values).detach()
    check_close(score(second, s.x, values), expected, "a deep copy gives another posterior: copy all of its state")
    building.jitter(second, 0.5)
    otherwise = "changing a deep copy changes the original: keep its parameters on self, not in closures or globals"
    check_close(score(first, s.x, values), expected, otherwise)


def check_double(s: GuideSubject) -> None:
    """After .double() draws and log-densities are float64."""
    guide, program = s.pair(mine=True)
    guide, program = guide.double(), program.double()
    x = s.x.double()
    values = drawn(trace_of(guide, x))
    check_dtypes({**values, "log_prob": score(guide, x, values)})


def check_seed(s: GuideSubject) -> None:
    """The same seed gives the same draws."""
    guide, _ = s.pair()
    check_same_noise(lambda: drawn(trace_of(guide, s.x, particles=(2,))))


def check_store(s: GuideSubject) -> None:
    """Nothing is left in Pyro's parameter store."""
    guide, program = s.pair()
    for training in (True, False):
        guide.train(training)
        Trace_ELBO(max_plate_nesting=1).differentiable_loss(program, guide, s.x)
    check_store_empty(pyro.get_param_store())


def check_apart(s: GuideSubject) -> None:
    """The program it is bound to is not a part of it."""
    guide, program = s.pair()
    check_outside(guide, program)


def check_bound(s: GuideSubject) -> str:
    """On a linear-Gaussian program, trained for a moment: its ELBO is nowhere above the exact log p(x)."""
    trained = []
    for steps, gap, error in stages(*oracle_pair(s, diagonal=False)):
        trained.append(gap)
        if not gap <= 4 * error + BOUND_ROUNDING:
            raise Failure(
                f"on a linear-Gaussian program its ELBO lies {gap:.2g} nats above the exact log p(x) after {steps} "
                f"updates (standard error {error:.1g}): its log_prob is more than the density of its draws"
            )
    return f"from {trained[0]:.3g} to {trained[-1]:.3g} nats"


def check_expresses(s: GuideSubject) -> str:
    """A guide that declares the family of the true posterior reaches it: a gap below 0.01 nats."""
    family = vars(type(s.guide)).get("expresses")
    if family is None:
        raise Skip('it declares none: a class attribute expresses = "normal" or "diagonal normal" claims to hold them')
    if family not in EXPRESSIBLE:
        raise Failure(f"expresses is {family!r}: set it to one of {', '.join(map(repr, EXPRESSIBLE))}, or None")
    *_, (steps, gap, _) = stages(*oracle_pair(s, diagonal=family == "diagonal normal"))
    if not -gap < LARGEST_GAP:
        raise Failure(
            f"it claims to express {family} posteriors, and is {-gap:.2g} nats below log p(x) after {steps} updates on "
            "a program that has one: correct expresses, or what keeps it from mean and covariance"
        )
    return f"{-gap:.4f} nats left"


def oracle_pair(s: GuideSubject, *, diagonal: bool) -> tuple[nn.Module, LinearGaussian]:
    """A fresh guide of the class, bound to a linear-Gaussian program.

    Raises:
        Skip: for a guide of other latents, or one that refuses the program.
    """
    prior = trace_of(s.program, s.x)
    if s.program.latents != ("z",) or not isinstance(s.data["data_dim"], int):
        raise Skip("it has several latent sites")
    if prior.nodes["z"]["fn"].support.is_discrete:
        raise Skip("its latents are discrete")
    latent_dim = min(2, s.program.data_dim, prior.nodes["z"]["fn"].event_shape.numel())
    oracle = LinearGaussian(s.program.data_dim, latent_dim, diagonal=diagonal).to(s.x)
    guide = building.fresh_guide(s.guide, {**s.data, "levels": 0}, latent_dim, s.options)
    try:
        guide.bind(oracle)
        with torch.no_grad():
            guide(oracle(size=2))
    except InvalidInput as error:
        raise Skip(f"it refuses a linear-Gaussian program: {error}") from error
    return guide, oracle
