"""SeeClick's web elements: texts, and hints that a pointer brings up; corners in 0..1.

github.com/njucckevin/SeeClick
"""

from typing import Any

from step3vl.pipelines.gui.sets.format import SetFile, SetFormat, array_items, elements_screen
from step3vl.pipelines.gui.sets.records import RawScreen


def convert(record: dict[str, Any], file: SetFile) -> RawScreen:
    return elements_screen(record, "unit", "web")


FORMAT = SetFormat(array_items, convert)
