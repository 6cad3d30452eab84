"""Schedules against the numbers of their formulas."""

from __future__ import annotations

import pytest
import torch

from inference.objectives import Schedule
from ppl_models import InvalidInput


def factors(schedule: Schedule, count: int) -> list[float]:
    return [schedule() for _ in range(count)]


def test_a_linear_warm_up_rises_to_one_and_stays() -> None:
    assert factors(Schedule("linear", 4), 7) == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1, 1])


def test_a_cyclical_schedule_rises_for_half_of_each_cycle_and_ends_at_one() -> None:
    # 2 cycles of 8 updates: a rise over 4, then 1 over 4 (Fu et al. 2019, eq. 6 and 7, with R = 1/2).
    cycle = [0, 0.25, 0.5, 0.75, 1, 1, 1, 1]
    assert factors(Schedule("cyclical", 16, 2), 20) == pytest.approx([*cycle, *cycle, 1, 1, 1, 1])


def test_cycles_that_do_not_divide_the_updates_still_begin_at_zero() -> None:
    found = factors(Schedule("cyclical", 10, 3), 12)
    tau = [3 * n / 10 % 1 for n in range(10)]
    assert found == pytest.approx([min(t / 0.5, 1) for t in tau] + [1, 1])


def test_a_delay_puts_zeros_before_the_first_rise() -> None:
    assert factors(Schedule("linear", 4, delay=3), 9) == pytest.approx([0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1])
    cycle = [0, 0.25, 0.5, 0.75, 1, 1, 1, 1]
    assert factors(Schedule("cyclical", 16, 2, delay=2), 18) == pytest.approx([0, 0, *cycle, *cycle])


def test_only_calls_in_training_are_counted() -> None:
    schedule = Schedule("linear", 10)
    factors(schedule, 3)
    schedule.eval()
    assert factors(schedule, 2) == pytest.approx([0.3, 0.3])
    schedule.train()
    assert factors(schedule, 2) == pytest.approx([0.3, 0.4])


def test_the_count_is_saved_with_the_weights() -> None:
    schedule, other = Schedule("cyclical", 100, 5), Schedule("cyclical", 100, 5)
    factors(schedule, 7)
    other.load_state_dict(schedule.state_dict())
    assert (other.factor, int(other.count)) == (schedule.factor, 7)


def test_a_constant_schedule_is_one_and_has_nothing_to_save() -> None:
    schedule = Schedule()
    assert factors(schedule, 3) == [1.0, 1.0, 1.0]
    assert not schedule.state_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "cyclic"}, r"--objective.schedule 'cyclic'.*did you mean cyclical"),
        ({"updates": 0}, "--objective.updates 0"),
        ({"kind": "cyclical", "cycles": 0}, "--objective.cycles 0"),
        ({"kind": "linear", "delay": -1}, "--objective.delay -1"),
        ({"delay": 5}, "--objective.delay 5.*no rise to delay.*schedule linear"),
        ({"kind": "cyclical", "updates": 3}, "--objective.cycles 4.*give 1 to 3"),
    ],
)
def test_schedules_refuse_what_is_none(options: dict, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Schedule(**options)


def test_the_schedule_follows_its_module() -> None:
    assert Schedule("linear", 3).double().count.dtype == torch.int64
