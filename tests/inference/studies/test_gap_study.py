"""The study of the gap: every member can be trained, its guide's gap can be split, and families differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.data import load_data
from inference.gaps import check_splittable
from inference.studies import STUDIES, Plan, of_budget
from inference.studies.members import job_of
from inference.train import prepare


@pytest.mark.parametrize("budget", ["quick", "full"])
def test_every_member_can_be_trained_and_split(budget, tmp_path) -> None:
    study, data = STUDIES["gap"], load_data("digits", None)
    members = of_budget(study.MEMBERS, budget)
    plan = Plan("gap", study.QUESTION, members, (0,), "digits", None, Path(tmp_path / "gap"), budget, False, False)
    guides = {}
    for member in members:
        prepared = prepare(job_of(plan, data, member, 0, f"{member.name}/seed-0"))
        check_splittable(prepared.objective.program, prepared.objective.guide, data.split("valid")[:2])
        guides.setdefault(member.recipe, []).append(type(prepared.objective.guide).__name__)
        assert member.evaluation["gap"].images is None
        assert member.evaluation["limit"] >= 10  # fewer images decide nothing
    assert all(len(set(names)) == len(names) > 1 for names in guides.values())
