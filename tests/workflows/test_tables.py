import pytest

from step3vl.workflows.tables import format_duration


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations_are_rounded_to_readable_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
