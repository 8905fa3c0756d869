"""The actions of a GUI agent.

An assistant answers with an action as one JSON object: `{"action": "click", "point_2d": [512, 40]}`. Coordinates are
integers 0..1000 of the screen. The types are the twelve of Step-GUI's agents (the STEP3-VL-10B report, section 2.2)
and `scroll`, which the report names in addition for computers.
"""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from step3vl.data.config import FrozenModel

ActionType = Literal[
    "click", "double_click", "long_press", "type", "hot_key", "slide", "scroll", "awake", "wait", "info", "call_user",
    "complete", "abort",
]  # fmt: skip
Direction = Literal["up", "down", "left", "right"]
Milli = Annotated[int, Field(ge=0, le=1000)]
MilliPoint = tuple[Milli, Milli]

# The fields that each type requires.
NEEDS: dict[str, frozenset[str]] = {
    "click": frozenset({"point_2d"}),
    "double_click": frozenset({"point_2d"}),
    "long_press": frozenset({"point_2d"}),
    "type": frozenset({"text"}),
    "hot_key": frozenset({"text"}),
    "slide": frozenset({"point_2d", "end_point_2d"}),
    "scroll": frozenset({"direction"}),
    "awake": frozenset({"text"}),
    "wait": frozenset(),
    "info": frozenset({"text"}),
    "call_user": frozenset({"text"}),
    "complete": frozenset(),
    "abort": frozenset(),
}
_OPTIONAL: dict[str, frozenset[str]] = {
    "type": frozenset({"point_2d"}),
    "scroll": frozenset({"point_2d"}),
    "complete": frozenset({"text"}),
    "abort": frozenset({"text"}),
}


class Action(FrozenModel):
    """One action of an agent."""

    action: ActionType
    """Type of the action."""

    point_2d: MilliPoint | None = None
    """Where it acts; for a `slide` (a swipe, or a drag of the mouse) where it starts."""

    end_point_2d: MilliPoint | None = None
    """Where a `slide` ends."""

    text: str | None = None
    """The text to type, the keys to press together (`ctrl+c`), the application to open, the question to the user, or
    the final answer."""

    direction: Direction | None = None
    """Where a `scroll` moves the view: `down` shows what is below. A finger would move the other way."""

    @model_validator(mode="after")
    def _has_its_fields(self) -> Self:
        fields = ("point_2d", "end_point_2d", "text", "direction")
        present = {name for name in fields if getattr(self, name) is not None}
        needed, allowed = NEEDS[self.action], NEEDS[self.action] | _OPTIONAL.get(self.action, frozenset())
        if missing := needed - present:
            raise ValueError(f"the action {self.action} needs {', '.join(sorted(missing))}")
        if extra := present - allowed:
            raise ValueError(f"the action {self.action} has no {', '.join(sorted(extra))}")
        return self

    def to_text(self) -> str:
        """The answer that carries the action."""
        return json.dumps(self.model_dump(mode="json", exclude_none=True), ensure_ascii=False)

    @classmethod
    def from_value(cls, value: Any) -> Self | None:
        """The action that a JSON value represents; None when it is not one."""
        try:
            return cls.model_validate(value) if isinstance(value, dict) and "action" in value else None
        except ValidationError:
            return None
