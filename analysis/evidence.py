"""Evidence: log p(x) per image, with its claim, and when two sets of it may be compared.

Numbers are compared only over one base measure (a probability mass and a density differ by a unit), one number of
grey levels, one data set (by digest), one split and the same images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from analysis.claims import Claim
from analysis.errors import Incomparable, InvalidInput
from analysis.files import SCHEMA, read_dataset

_VARIABLES = {
    "log_evidence": ("estimator", "image"),
    "stderr": ("estimator", "image"),
    "ess": ("estimator", "image"),
    "pareto_k": ("estimator", "image"),
    "estimator": ("estimator",),
    "claim": ("estimator",),
    "num_particles": ("estimator",),
    "tolerance": ("estimator",),
    "reason": ("estimator",),
    "image": ("image",),
}
_ATTRIBUTES = ("units", "measure", "levels", "program", "guide", "data", "data_digest", "split", "seed")
# A mass above one is a mistake; a lower bound's Monte Carlo noise may pass zero, an exact value only by rounding.
ROUNDING_NATS = 1e-3


@dataclass(frozen=True, eq=False)
class Values:
    """One estimator's reading of log p(x).

    Attributes:
        estimator: its name in the file, for example ``iw:5000``.
        claim: what the values may be taken for.
        nats: (N,) nats per image, summed over pixels; NaN where not evaluated.
        stderr: (N,) Monte Carlo standard error, NaN where there is none.
        pareto_k: (N,) tail shape of the importance weights, NaN where it has no meaning.
        num_particles: K, 0 where there are none.
        tolerance: nats, for ``NUMERICAL``; NaN otherwise.
        reason: why it was refused, or empty.
    """

    estimator: str
    claim: Claim
    nats: np.ndarray
    stderr: np.ndarray
    pareto_k: np.ndarray
    num_particles: int
    tolerance: float
    reason: str

    @property
    def kind(self) -> str:
        """The estimator without its argument: ``iw`` of ``iw:5000``."""
        return self.estimator.partition(":")[0]

    @property
    def effort(self) -> tuple[int, int]:
        """The number in the estimator's name (0 if there is none), then K."""
        argument = self.estimator.partition(":")[2]
        return (int(argument) if argument.isdigit() else 0, self.num_particles)

    @property
    def num_evaluated(self) -> int:
        """How many images have a value."""
        return int(np.count_nonzero(~np.isnan(self.nats)))


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that one run says about log p(x) on a split: the content of ``evidence.nc``.

    Attributes:
        values: one entry per estimator, in the file's order.
        images: (N,) indices in the split.
        measure: ``mass`` or ``density``.
        levels: number of grey levels.
        data, data_digest, split: what was scored.
        program, guide, seed: what scored it.
    """

    values: tuple[Values, ...]
    images: np.ndarray
    measure: str
    levels: int
    data: str
    data_digest: str
    split: str
    program: str
    guide: str
    seed: int

    def __getitem__(self, estimator: str) -> Values:
        """The values of one estimator; raises ``InvalidInput`` with the known names."""
        for values in self.values:
            if values.estimator == estimator:
                return values
        known = ", ".join(values.estimator for values in self.values)
        raise InvalidInput("estimator", estimator, "was not evaluated", f"known: {known}")

    @property
    def numbers(self) -> tuple[Values, ...]:
        """The entries that are numbers, refusals left out."""
        return tuple(values for values in self.values if values.claim.is_number)

    @property
    def refusals(self) -> tuple[Values, ...]:
        """The entries that were refused, each with its reason."""
        return tuple(values for values in self.values if not values.claim.is_number)


def evidence_name(split: str) -> str:
    """The file of a split's evidence: ``evidence.nc`` of the test images, ``evidence-SPLIT.nc`` of others."""
    return "evidence.nc" if split == "test" else f"evidence-{split}.nc"


def read_evidence(path: Path) -> Evidence:
    """Read ``evidence.nc``.

    Raises:
        InvalidInput: the file is missing or malformed; an unknown claim; a refusal with a number or without a reason;
            an upper bound (it exists on simulated images only, in ``sandwich.nc``); a probability mass above one.
    """
    evidence = _read(path)
    for values in evidence.values:
        if values.claim is Claim.UPPER_BOUND:
            problem = "UPPER_BOUND on given images does not exist"
            raise InvalidInput(str(path), values.estimator, problem, "write it to sandwich.nc")
    return evidence


def read_sandwich(path: Path) -> Evidence:
    """Read ``sandwich.nc``: forward lower and reverse upper bounds on images simulated from the program."""
    return _read(path)


def _read(path: Path) -> Evidence:
    dataset = read_dataset(path, _VARIABLES)
    for name in _ATTRIBUTES:
        if name not in dataset.attrs:
            raise InvalidInput(str(path), name, "this attribute is missing", f"write it as in {SCHEMA}")
    if dataset.attrs["units"] != "nats":
        raise InvalidInput(str(path), f"units {dataset.attrs['units']}", "are not nats", "write nats per image")
    # Refusals alone, those of a baseline without a density, are over no measure.
    refused = bool((dataset["claim"] == Claim.NONE.value).all())
    if dataset.attrs["measure"] not in ("mass", "density") and not (refused and dataset.attrs["measure"] == "none"):
        value = f"measure {dataset.attrs['measure']}"
        raise InvalidInput(str(path), value, "is not known", "write mass or density")
    if dataset.sizes["image"] == 0:
        raise InvalidInput(str(path), "image", "there are no images", "evaluate at least one")
    attributes = {name: str(dataset.attrs[name]) for name in _ATTRIBUTES if name != "units"}
    attributes |= {name: int(dataset.attrs[name]) for name in ("levels", "seed")}
    rows = tuple(_values(path, dataset, row) for row in range(dataset.sizes["estimator"]))
    evidence = Evidence(values=rows, images=dataset["image"].values, **attributes)
    for values in rows:
        _check_values(path, values, evidence.measure)
    return evidence


def _values(path: Path, dataset: xr.Dataset, row: int) -> Values:
    entry = dataset.isel(estimator=row)
    claim = str(entry["claim"].item())
    if claim not in [known.value for known in Claim]:
        known = ", ".join(word.value for word in Claim)
        raise InvalidInput(str(path), f"claim {claim}", "is no known claim", f"write one of {known}")
    arrays = {
        name: np.asarray(entry[variable].values, dtype=float)
        for name, variable in (("nats", "log_evidence"), ("stderr", "stderr"), ("pareto_k", "pareto_k"))
    }
    return Values(
        estimator=str(entry["estimator"].item()),
        claim=Claim(claim),
        num_particles=int(entry["num_particles"].item()),
        tolerance=float(entry["tolerance"].item()),
        reason=str(entry["reason"].item()),
        **arrays,
    )


def _check_values(path: Path, values: Values, measure: str) -> None:
    """Refuse what the claim rules out, so that no wrong number gets a verdict."""
    name, claim = values.estimator, values.claim
    problem = ""
    if claim is Claim.NONE and values.num_evaluated:
        problem = "was refused and still has numbers"
    elif claim is Claim.NONE and not values.reason:
        problem = "was refused without a reason"
    elif claim is Claim.NUMERICAL and not values.tolerance >= 0:
        problem = "is NUMERICAL without a tolerance"
    elif claim.is_number and not values.num_evaluated:
        problem = f"claims {claim} and has no number"
    elif np.any(np.isposinf(values.nats)):
        problem = "is infinite"
    elif claim is Claim.EXACT and measure == "mass" and np.nanmax(values.nats) > ROUNDING_NATS:
        problem = "is an exact log mass above 0"
    elif np.any(values.stderr < 0):
        problem = "has a negative standard error"
    if problem:
        raise InvalidInput(str(path), name, problem, f"evaluate {name} again, see {SCHEMA}")


def check_comparable(left: Evidence, right: Evidence) -> None:
    """That two sets of evidence are about the same measure, levels, data, split and images.

    Raises:
        Incomparable: with the first thing that differs and both of its values.
    """
    for name in ("measure", "levels", "data_digest", "split"):
        here, there = getattr(left, name), getattr(right, name)
        if here != there:
            raise Incomparable(f"not comparable: {name.replace('_', ' ')} differs ({here} and {there})")
    if not np.array_equal(left.images, right.images):
        sizes = f"{left.images.size} and {right.images.size}"
        raise Incomparable(f"not comparable: the images differ ({sizes}, or other indices)")


def common_images(left: np.ndarray, right: np.ndarray) -> int:
    """How many leading images both sides have values for; values are (..., N).

    An estimator may have been run on the first n images only (``--limit``): n is then fixed before any value is seen,
    and the comparison is made on those. Values missing anywhere else may be missing because of what they would have
    been, so they are not dropped.

    Raises:
        Incomparable: values are missing at other places than the end, or everywhere.
    """
    counts = []
    for values in (left, right):
        present = ~np.isnan(values.reshape(-1, values.shape[-1])).any(axis=0)
        count = int(present.sum())
        if not present[:count].all():
            first = int(np.argmin(present))
            raise Incomparable(f"not comparable: values are missing from image {first} on, with gaps")
        counts.append(count)
    if min(counts) == 0:
        raise Incomparable("not comparable: no image was evaluated by both")
    return min(counts)
