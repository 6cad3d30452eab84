"""The section on posterior collapse: every run in a table, a dashboard for each, and how it went in training."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.collapse import CollapseMeasures, Measure, read_collapse
from analysis.collapse_state import State, sentences, state_of
from analysis.plots_collapse import dashboard
from analysis.plots_rate import monitor_curves, rate_distortion
from analysis.runs import Study
from analysis.style import Picture, as_picture, house_style, member_colours

# With more runs than this each member shows the dashboard of its first run alone.
MOST_DASHBOARDS = 12
# What parts a warning from what it recommends, which is the same for all.
_CURES = " Cures: "


@dataclass(frozen=True, eq=False)
class CollapseEntry:
    """One run's measures of collapse: in words, as numbers and, if there are not too many runs, drawn."""

    title: str
    member: str
    found: CollapseMeasures
    state: State
    sentences: list[str]
    picture: Picture | None

    @property
    def rows(self) -> list[Measure]:
        """All measures, in the order of the file."""
        return list(self.found.measures.values())


@dataclass(frozen=True, eq=False)
class CollapseSection:
    """What the template is given.

    Attributes:
        entries: every run that has ``collapse.nc``.
        plane: rate against distortion of the runs that were measured on the same images as the first, if several.
        elsewhere: titles of runs that were measured on other images, which the plane leaves out.
        training: rate and active units per epoch; ``None`` if no run was watched.
        warned: titles of runs that were warned of collapse, each with what was said.
        cures: the options that the first warning names; empty without one.
    """

    entries: list[CollapseEntry]
    plane: Picture | None
    elsewhere: list[str]
    training: Picture | None
    warned: list[tuple[str, str]]
    cures: str


def collapse_section(study: Study) -> CollapseSection:
    """Read, judge and draw every run of a study that has ``collapse.nc``."""
    colours = member_colours([member.name for member in study.members])
    entries = _entries(study)
    alike = [entry for entry in entries if _images(entry.found) == _images(entries[0].found)]
    plane = training = None
    with house_style():
        if len(alike) > 1:
            figure = rate_distortion([(entry.member, entry.found) for entry in alike], colours)
            plane = as_picture(figure, "Rate against distortion of every run, with lines of equal ELBO")
        curves = monitor_curves(study, colours)
        if curves is not None:
            training = as_picture(curves, "Rate and active units per epoch")
    elsewhere = [entry.title for entry in entries if entry not in alike]
    warnings = _warnings(study)
    warned = [(title, text.partition(_CURES)[0]) for title, text in warnings]
    cures = warnings[0][1].partition(_CURES)[2] if warnings else ""
    return CollapseSection(entries, plane, elsewhere, training, warned, cures)


def _entries(study: Study) -> list[CollapseEntry]:
    pairs = ((member.name, run) for member in study.members for run in member.runs)
    runs = [(name, run) for name, run in pairs if (run.path / "collapse.nc").exists()]
    drawn: set[str] = set()
    entries = []
    for name, run in runs:
        found, title = read_collapse(run.path / "collapse.nc"), f"{name}, seed {run.seed}"
        picture = None
        if len(runs) <= MOST_DASHBOARDS or name not in drawn:
            with house_style():
                picture = as_picture(dashboard(found), f"Six measures of collapse of {title}")
            drawn.add(name)
        entries.append(CollapseEntry(title, name, found, state_of(found), sentences(found), picture))
    return entries


def _images(found: CollapseMeasures) -> tuple[object, ...]:
    """What must agree before rates and distortions lie in one plane."""
    return (found.data_digest, found.split, found.base_measure, found.levels, found.images.tolist())


def _warnings(study: Study) -> list[tuple[str, str]]:
    return [
        (f"{member.name}, seed {run.seed}", str(record["collapse_warning"]))
        for member in study.members
        for run in member.runs
        for record in run.history or ()
        if "collapse_warning" in record
    ]
