"""Which pairs a study asks about, and the verdicts on them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from analysis.contenders import Contender
from analysis.runs import Member, Run, Study
from analysis.verdicts import Pair, Verdict, judge


@dataclass(frozen=True)
class Judgement:
    """All that a report says about who has the higher log p(x).

    Attributes:
        verdicts: of the pairs that were compared, runs before methods.
        incomparable: pairs with the reason why they must not be compared.
        without_numbers: members that were refused, with the reason.
        single_seed: pairs of methods that get no verdict because one has a single seed.
        num_tests: ordered pairs corrected for, in each of the two families.
    """

    verdicts: tuple[Verdict, ...]
    incomparable: tuple[tuple[str, str], ...]
    without_numbers: tuple[tuple[str, str], ...]
    single_seed: tuple[str, ...]
    num_tests: int

    def of_scope(self, scope: str) -> tuple[Verdict, ...]:
        """The verdicts about ``runs`` or about ``methods``."""
        return tuple(verdict for verdict in self.verdicts if verdict.scope == scope)

    @property
    def incomparable_by_reason(self) -> dict[str, list[str]]:
        """The pairs that must not be compared, by the reason: studies of many members have dozens for the same one."""
        found: dict[str, list[str]] = {}
        for pair, reason in self.incomparable:
            found.setdefault(reason, []).append(pair)
        return found


def judge_study(study: Study) -> Judgement:
    """Verdicts on every pair of members: run against run of the same seed, and method against method over seeds.

    Runs of the same seed are paired because that is a choice made before any number is seen; where two members share
    no seed, their first runs are paired.
    """
    members = [member for member in study.members if _has_numbers(member)]
    pairs: list[Pair] = []
    single_seed: list[str] = []
    for left, right in combinations(members, 2):
        pairs += _run_pairs(left, right)
        if min(len(_scored(left)), len(_scored(right))) < 2:
            single_seed.append(f"{left.name} and {right.name}")
        else:
            pairs.append(Pair("methods", _method(left), _method(right)))
    pairs.sort(key=lambda pair: pair.scope != "runs")
    verdicts, refused = judge(pairs)
    return Judgement(
        verdicts=tuple(verdicts),
        incomparable=tuple((f"{p.left.name} and {p.right.name}", why) for p, why in refused),
        without_numbers=tuple(_refusals(study)),
        single_seed=tuple(single_seed),
        num_tests=2 * len(verdicts),
    )


def _scored(member: Member) -> list[Run]:
    return [run for run in member.runs if run.evidence is not None]


def _has_numbers(member: Member) -> bool:
    runs = _scored(member)
    return bool(runs) and all(run.evidence.numbers for run in runs)


def _run_pairs(left: Member, right: Member) -> list[Pair]:
    by_seed = {run.seed: run for run in _scored(right)}
    shared = [(run, by_seed[run.seed]) for run in _scored(left) if run.seed in by_seed]
    matched = shared or [(_scored(left)[0], _scored(right)[0])]
    return [Pair("runs", _single(left, a), _single(right, b)) for a, b in matched]


def _single(member: Member, run: Run) -> Contender:
    sandwiches = () if run.sandwich is None else (run.sandwich,)
    return Contender(f"{member.name}/seed-{run.seed}", (run.evidence,), sandwiches)


def _method(member: Member) -> Contender:
    runs = _scored(member)
    sandwiches = tuple(run.sandwich for run in runs if run.sandwich is not None)
    return Contender(member.name, tuple(run.evidence for run in runs), sandwiches)


def _refusals(study: Study) -> list[tuple[str, str]]:
    found = []
    for member in study.members:
        reasons = [v.reason for run in _scored(member) for v in run.evidence.refusals]
        reasons = reasons or [run.refusal for run in member.runs if run.refusal]
        if reasons and not _has_numbers(member):
            found.append((member.name, reasons[0]))
    return found
