"""OS-Atlas-data: elements of screens of desktops, phones and the web, corners in 0..1.

huggingface.co/datasets/OS-Copilot/OS-Atlas-data. Instructions are people's, or names of accessibility trees and HTML.
"""

from typing import Any

from step3vl.pipelines.gui.sets.format import SetFile, SetFormat, array_items, elements_screen
from step3vl.pipelines.gui.sets.records import RawScreen


def convert(record: dict[str, Any], file: SetFile) -> RawScreen:
    return elements_screen(record, "unit", "")


FORMAT = SetFormat(array_items, convert)
