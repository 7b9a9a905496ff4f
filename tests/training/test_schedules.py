"""The rate over a run, against the numbers of the released codes. Each test names the faults it is to catch."""

import math

import pytest

from sijo.errors import SettingError
from sijo.training.schedules import ScheduleSettings


def rates(schedule, steps, *at):
    return [schedule.at(step / steps, schedule.warmup(steps)) for step in at]


def exactly(numbers):
    return pytest.approx(numbers, rel=0, abs=1e-12)


def test_electra_multiplies_the_fall_into_the_rise():
    # kills: a fall that waits for the end of the warm-up, a peak that is reached, a rise that begins at 1 / warm-up
    small = ScheduleSettings(peak=5e-4, shape="linear_times_warmup", warmup_steps=10_000)
    want = [0, 2.4875e-4, 4.95e-4, 2.5e-4, 0]
    assert rates(small, 1_000_000, 0, 5_000, 10_000, 500_000, 1_000_000) == exactly(want)
    assert max(rates(small, 1_000_000, *range(9_000, 11_000))) == exactly(5e-4 * 0.99)


def test_albert_falls_from_the_start_of_the_run():
    # kills: a fall that begins where the warm-up ends, the last step of the warm-up taken for one of the fall
    base = ScheduleSettings(peak=0.00176, shape="linear_from_start", warmup_steps=3_125)
    want = [0, 0.0017594368, 0.001716, 0.00088, 0]
    assert rates(base, 125_000, 0, 3_124, 3_125, 62_500, 125_000) == exactly(want)
    by_share = ScheduleSettings(peak=0.00176, shape="linear_from_start", warmup_share=0.025)
    assert rates(by_share, 125_000, 3_124, 3_125) == exactly(want[1:3])


def test_deberta_is_the_same_shape():
    # kills: a continuous fall
    base = ScheduleSettings(peak=1.0, shape="linear_from_start", warmup_steps=10_000)
    want = [0.5, 1 - 0.01, 1e-6]
    assert rates(base, 1_000_000, 5_000, 10_000, 999_999) == exactly(want)


@pytest.mark.parametrize(
    "shape, power, quarter, half",
    # at 1/4 and 1/2 of the way down
    [
        ("linear", 1.0, 0.75, 0.5),
        ("polynomial", 1.0, 0.75, 0.5),
        ("polynomial", 2.0, 0.5625, 0.25),
        ("polynomial", 0.5, math.sqrt(0.75), math.sqrt(0.5)),
        ("cosine", 1.0, (1 + math.sqrt(0.5)) / 2, 0.5),
        ("constant", 1.0, 1.0, 1.0),
    ],
)
@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_the_others_fall_from_the_peak_to_the_floor(shape, power, quarter, half, floor):
    # kills: power or floor left out or applied to the rise, a cosine of a whole turn, a fall not shifted by the
    # warm-up, a constant that falls
    schedule = ScheduleSettings(peak=3.0, shape=shape, power=power, floor=floor, warmup_steps=200)
    end = 1.0 if shape == "constant" else 0.0
    want = [0, 1.5, 3, *(3 * (floor + (1 - floor) * left) for left in (quarter, half, end))]
    assert rates(schedule, 1_000, 0, 100, 200, 400, 600, 1_000) == exactly(want)


def test_ctrl_rises_and_stays():
    # kills: a fall at the end
    ctrl = ScheduleSettings(peak=0.05, shape="constant", warmup_steps=25_000)
    assert rates(ctrl, 800_000, 0, 12_500, 25_000, 799_999) == exactly([0, 0.025, 0.05, 0.05])


def test_without_warm_up_it_begins_at_the_peak():
    # kills: a division by 0, a first step at rate 0
    for shape in ("linear", "cosine", "constant", "linear_from_start", "linear_times_warmup"):
        assert rates(ScheduleSettings(peak=2.0, shape=shape), 10, 0) == [2.0]


def test_a_budget_of_time_shapes_it():
    # kills: steps looked at in place of the share, a rate below 0 or a complex one where a step outlasts its budget
    schedule = ScheduleSettings(peak=1.0, shape="polynomial", power=0.5, warmup_steps=10)
    assert schedule.warmup(1_000) == 0.01
    assert [schedule.at(share, 0.01) for share in (0.005, 0.505, 1.0, 1.2)] == exactly([0.5, math.sqrt(0.5), 0, 0])


@pytest.mark.parametrize(
    "given, told",
    [
        ({"peak": 0.0}, "schedule.peak=0.0 would not teach"),
        ({"peak": math.inf}, "schedule.peak=inf"),
        ({"warmup_steps": -1}, "warmup_steps=-1 and"),
        ({"warmup_share": 1.0}, "a share from 0 to below 1"),
        ({"warmup_steps": 5, "warmup_share": 0.1}, "both say how long"),
        ({"power": 0.0, "shape": "polynomial"}, "schedule.power=0.0 must be above 0"),
        ({"power": 2.0}, 'other than 1 only with shape="polynomial"'),
        ({"floor": 1.5}, "schedule.floor=1.5 is no share"),
    ],
)
def test_what_cannot_be_is_refused(given, told):
    # kills: a setting that is silently without effect, or fails in the middle of a run
    with pytest.raises(SettingError) as refusal:
        ScheduleSettings(**given)
    assert told in str(refusal.value)


def test_a_warm_up_longer_than_the_run_is_refused():
    # kills: a run that never reaches its peak because its steps were shortened
    schedule = ScheduleSettings(warmup_steps=10_000)
    with pytest.raises(SettingError, match="Try warmup_steps=50"):
        schedule.warmup(500)
    with pytest.raises(SettingError, match="10,000, but the run has 10,000 steps"):
        schedule.warmup(10_000)
