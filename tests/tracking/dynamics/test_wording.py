"""What a report says of speed, with the time that each figure is taken over."""

from tests.tracking.visits import sizes
from tracking.course import describe_course
from tracking.dynamics import describe_dynamics, dynamics


def test_one_visit_says_nothing() -> None:
    assert describe_dynamics(dynamics([sizes(0, a=10)])) == ()
    assert describe_course([sizes(0, a=10)]) == ()


def test_two_visits_are_one_interval() -> None:
    last, velocity = describe_dynamics(dynamics([sizes(0, a=10), sizes(61, a=20, b=6)]))
    assert last == (
        "Last interval, 2024-01-01 to 2024-03-02 (2.0 months): 1 lesion with 500 mm³, then 2 with 4108 mm³;"
        " 1 new (0.50 per month); +1746 mm³ per followed lesion and month, doubling in 20 days."
    )
    assert velocity.startswith("Brain-metastasis velocity: 6.0 new metastases per year (4 to 13), counted from 2024-01")


def test_what_shrinks_is_said_to_halve() -> None:
    lines = describe_dynamics(dynamics([sizes(0, a=20), sizes(30, a=20), sizes(60, a=10)]))
    assert "halving in 10 days" in lines[0]
    assert lines[1].startswith("All 3 studies, 2024-01-01 to 2024-03-01")
    assert "halving in 20 days" in lines[1]


def test_what_is_within_error_or_too_short_gives_no_speed() -> None:
    last, velocity = describe_dynamics(dynamics([sizes(0, a=20), sizes(10, a=20.1, b=5)]))
    assert "doubling" not in last
    assert velocity == "Brain-metastasis velocity is not given: 10 days are too short a time."


def test_without_a_lesion_to_follow_no_rate_is_made_up() -> None:
    (last, _) = describe_dynamics(dynamics([sizes(0), sizes(61, a=5)]))
    assert "no lesion to follow." in last


def test_the_course_gives_the_verdict_of_the_last_visit_first() -> None:
    lines = describe_course([sizes(0, a=20), sizes(30, a=10), sizes(61, a=10)])
    assert lines[0].startswith("RANO-BM on 2024-03-02: partial response, confirmed after at least 28 days")
    assert lines[-1].startswith("Brain-metastasis velocity: 0.0")
