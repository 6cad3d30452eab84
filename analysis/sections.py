"""The sections of a report: one table, a line per section. A later study adds a function, a template and a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from matplotlib.figure import Figure

from analysis import diagrams, diagrams_generation, diagrams_layers, layer_stacks, plots, plots_images, plots_training
from analysis.claims import Claim
from analysis.headlines import headlines
from analysis.pairs import Judgement
from analysis.ranking import RankingStatement
from analysis.runs import Study
from analysis.sections_collapse import collapse_section
from analysis.sections_cures import CureEntry, cures
from analysis.sections_evidence import established
from analysis.sections_gap import gap_findings
from analysis.sections_guide import calibrations, posteriors, weight_tails
from analysis.sections_latent import latent_codes
from analysis.sections_ranking import ranked
from analysis.sections_sandwich import sandwich_findings
from analysis.sections_sweep import LinearEntry, SweepEntry, linear_entries, sweep_entries
from analysis.style import Picture, as_picture, house_style, member_colours
from analysis.table import merge_refusals, table_of_claims


@dataclass(frozen=True)
class Findings:
    """What all sections draw from: the files, the verdicts and the computed ranking statement."""

    study: Study
    judgement: Judgement
    ranking: RankingStatement

    # For the page and for the terminal: each takes seconds to read.
    @cached_property
    def cures(self) -> CureEntry:
        """The cures of a study of posterior collapse."""
        return cures(self.study)

    @cached_property
    def linear(self) -> tuple[list[LinearEntry], list[str]]:
        """The linear program against its theory, and the folders that lack it."""
        return linear_entries(self.study)

    @cached_property
    def sweeps(self) -> list[SweepEntry]:
        """The sweeps of a study."""
        return sweep_entries(self.study)


@dataclass(frozen=True)
class Section:
    """One section of the page.

    Attributes:
        key: its anchor and the name of its template, ``templates/sections/KEY.html.j2``.
        title: its heading.
        content: what the template is given.
        studies: the studies that show it; empty for all.
    """

    key: str
    title: str
    content: Callable[[Findings], Mapping[str, Any]]
    studies: tuple[str, ...] = ()


def _question(findings: Findings) -> Mapping[str, Any]:
    meta = findings.study.meta
    return {"question": meta["question"], "members": findings.study.members, "meta": meta}


def _agenda(findings: Findings) -> Mapping[str, Any]:
    return established(findings.judgement)


def _verdicts(findings: Findings) -> Mapping[str, Any]:
    judgement = findings.judgement
    return {
        "headlines": headlines(judgement.of_scope("runs")),
        "runs": judgement.of_scope("runs"),
        "methods": judgement.of_scope("methods"),
        "single_seed": judgement.single_seed,
        "num_tests": judgement.num_tests,
        "ranking": findings.ranking,
    }


def _claims(findings: Findings) -> Mapping[str, Any]:
    rows = merge_refusals(table_of_claims(findings.study))
    return {"rows": rows, "has_bits": any(row.bits_per_dim == row.bits_per_dim for row in rows)}


def _forest(findings: Findings) -> Mapping[str, Any]:
    alt = "Mean log p(x) per member and estimator with claims, and paired differences"
    return {"picture": _draw(lambda: plots.evidence_forest(findings.study), alt)}


def _ranking(findings: Findings) -> Mapping[str, Any]:
    return ranked(findings.study)


def _gap(findings: Findings) -> Mapping[str, Any]:
    colours = _colours(findings.study)
    with house_style():
        figures = plots.gap_figures(findings.study, colours)
        pictures = [as_picture(figure, f"ELBO to importance-weighted gap of {name}") for name, figure in figures]
    return {"pictures": pictures}


def _sandwich(findings: Findings) -> Mapping[str, Any]:
    return {"found": sandwich_findings(findings.study)}


def _gap_split(findings: Findings) -> Mapping[str, Any]:
    return {"found": gap_findings(findings.study)}


def _refusals(findings: Findings) -> Mapping[str, Any]:
    judgement = findings.judgement
    rows = [row for row in merge_refusals(table_of_claims(findings.study)) if row.claim is Claim.NONE]
    return {
        "rows": rows,
        "without_numbers": judgement.without_numbers,
        "incomparable": judgement.incomparable_by_reason,
    }


def _programs(findings: Findings) -> Mapping[str, Any]:
    programs = diagrams.traced_programs(findings.study)
    if not programs:
        return {"graph": None, "layers": None, "generation": None, "shared": [], "sampling": []}
    return {
        "graph": _draw(lambda: diagrams.graph_figure(programs), "Programs and guides in plate notation"),
        "layers": _draw(lambda: diagrams_layers.layer_figure(programs), "Layers of the programs side by side"),
        "generation": _draw(lambda: diagrams_generation.generation_figure(programs), "How each program makes a sample"),
        "shared": layer_stacks.shared_parts(programs),
        "sampling": [(p.name, diagrams_generation.how_it_samples(p)) for p in programs],
    }


def _curves(findings: Findings) -> Mapping[str, Any]:
    colours = _colours(findings.study)
    alt = "Validation log p(x) and training objective per epoch"
    return {"picture": _draw(lambda: plots_training.learning_curves(findings.study, colours), alt)}


def _samples(findings: Findings) -> Mapping[str, Any]:
    alt = "Samples of each program"
    return {"picture": _draw(lambda: plots_images.sample_grids(findings.study), alt, raster=True)}


def _reconstructions(findings: Findings) -> Mapping[str, Any]:
    alt = "Observed images above their reconstructions"
    return {"picture": _draw(lambda: plots_images.reconstruction_grids(findings.study), alt, raster=True)}


def _latents(findings: Findings) -> Mapping[str, Any]:
    return {"entries": latent_codes(findings.study)}


def _calibration(findings: Findings) -> Mapping[str, Any]:
    return {"entries": calibrations(findings.study), "tails": weight_tails(findings.study)}


def _posterior(findings: Findings) -> Mapping[str, Any]:
    return {"entries": posteriors(findings.study)}


def _collapse(findings: Findings) -> Mapping[str, Any]:
    return vars(collapse_section(findings.study))


def _cures(findings: Findings) -> Mapping[str, Any]:
    return {"entry": findings.cures}


def _linear(findings: Findings) -> Mapping[str, Any]:
    entries, missing = findings.linear
    return {"entries": entries, "missing": missing}


def _sweeps(findings: Findings) -> Mapping[str, Any]:
    return {"entries": findings.sweeps}


def _glossary(findings: Findings) -> Mapping[str, Any]:
    return {"claims": list(Claim)}


def _provenance(findings: Findings) -> Mapping[str, Any]:
    study = findings.study
    runs = [(member, run) for member in study.members for run in member.runs]
    seconds = {
        run.path: sum(float(record.get("seconds", 0.0)) for record in run.history) for _, run in runs if run.history
    }
    missing = [(run.path, name, how) for _, run in runs for name, how in run.missing.items()]
    return {"meta": study.meta, "runs": runs, "seconds": seconds, "missing": missing, "absent": study.absent}


def _colours(study: Study) -> dict[str, str]:
    return member_colours([member.name for member in study.members])


def _draw(draw: Callable[[], Figure | None], alt: str, raster: bool = False) -> Picture | None:
    """Draw and render in the house style; ``None`` stays ``None``: its section says what is missing."""
    with house_style():
        figure = draw()
        return None if figure is None else as_picture(figure, alt, raster)


SECTIONS = (
    Section("question", "The question", _question),
    Section("agenda", "What is established, and what would decide the rest", _agenda),
    Section("verdicts", "Verdicts", _verdicts),
    Section("claims", "Table of claims", _claims),
    Section("forest", "Evidence at a glance", _forest),
    Section("ranking", "Ranking and stacking", _ranking),
    Section("gap", "What the ELBO leaves out", _gap),
    Section("sandwich", "Lower and upper bounds on simulated images", _sandwich),
    Section("gap_split", "The gap of the ELBO: the family's part and the encoder's", _gap_split),
    Section("refusals", "Refusals", _refusals),
    Section("programs", "The programs side by side", _programs),
    Section("curves", "Learning curves", _curves),
    Section("samples", "Samples", _samples),
    Section("reconstructions", "Reconstructions", _reconstructions),
    Section("latents", "Latent codes", _latents),
    Section("collapse", "Posterior collapse", _collapse),
    Section("calibration", "Is the guide calibrated?", _calibration),
    Section("posterior", "The guide against NUTS", _posterior),
    Section("cures", "Cures for posterior collapse", _cures, ("collapse",)),
    Section("linear", "Where theory is exact: the linear program", _linear, ("collapse",)),
    Section("sweeps", "What makes a code collapse: sweeps", _sweeps, ("collapse",)),
    Section("glossary", "How to read the claims", _glossary),
    Section("provenance", "Provenance", _provenance),
)
