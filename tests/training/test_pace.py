import pytest
from stand_ins import make_config

from studio.training.pace import Pace


class Counters:
    def __init__(self, images, seconds):
        self.images, self.seconds = images, seconds


def test_the_end_is_told_within_a_fifth_though_sheets_and_snapshots_interrupt():
    """100 pictures a second, but every 10 s a sheet of 1 s, and geometrically snapshots of 2 s."""
    config = make_config(".", kimg=60.0)
    pace, seconds, images, told = Pace(0, 0.0), 0.0, 0, []
    snapshots = [15 * 1.2**number for number in range(40)]
    while images < 60_000:
        seconds, images = seconds + 0.5, images + 50
        if round(seconds * 2) % 20 == 0:
            seconds += 1.0
        if seconds > snapshots[0]:
            snapshots.pop(0)
            seconds += 2.0
            pace.rest(2.0)
        pace.mark(images, seconds)
        told.append((seconds, pace.seconds_left(config, Counters(images, seconds), snapshots)))
    end = seconds
    late = [(at, left) for at, left in told if at > 60 and end - at > 10]
    assert late and all(abs(left - (end - at)) <= 0.1 * (end - at) + 2 for at, left in late)


def test_time_and_pictures_whichever_comes_first():
    pace = Pace(0, 0.0)
    assert pace.images_per_second == 0.0
    pace.mark(1000, 10.0)
    assert pace.images_per_second == pytest.approx(100)
    assert pace.seconds_left(make_config(".", kimg=2.0), Counters(1000, 10.0)) == pytest.approx(10)
    assert pace.seconds_left(make_config(".", kimg=2.0, minutes=0.25), Counters(1000, 10.0)) == pytest.approx(5)
    assert pace.seconds_left(make_config(".", kimg=0.0, minutes=1.0), Counters(1000, 10.0)) == pytest.approx(50)


def test_going_back_begins_anew():
    pace = Pace(0, 0.0)
    for second in range(1, 50):
        pace.mark(second * 100, float(second))
    pace.mark(1000, 50.0)
    pace.mark(1050, 51.0)
    assert pace.images_per_second == pytest.approx(50)


def test_the_speed_is_that_of_the_last_steps_however_long_they_are():
    pace = Pace(0, 0.0)
    for step in range(1, 4):
        pace.mark(step * 16, step * 20.0)
    assert pace.images_per_second == pytest.approx(0.8)
    pace.mark(48, 61.0)
    assert pace.images_per_second == pytest.approx(16 / 21), "a look without a new picture is no standstill"
