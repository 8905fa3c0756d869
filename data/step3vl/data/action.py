"""The actions of a GUI agent.

An action is what an assistant's answer carries, as one JSON object: `{"action": "click", "point_2d": [512, 40]}`.
Coordinates are integers 0..1000 of the screen, as everywhere. The types are the twelve of Step-GUI's agents (the
STEP3-VL-10B report, section 2.2) and `scroll`, which the report names for computers beside them.
"""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from step3vl.data.config import Config

ActionType = Literal[
    "click", "double_click", "long_press", "type", "hot_key", "slide", "scroll", "awake", "wait", "info", "call_user",
    "complete", "abort",
]  # fmt: skip
Direction = Literal["up", "down", "left", "right"]
Milli = Annotated[int, Field(ge=0, le=1000)]
MilliPoint = tuple[Milli, Milli]

# What each type must say; `type` and `scroll` may name a place too.
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
_MAY: dict[str, frozenset[str]] = {
    "type": frozenset({"point_2d"}),
    "scroll": frozenset({"point_2d"}),
    "complete": frozenset({"text"}),
    "abort": frozenset({"text"}),
}


class Action(Config):
    """One step of an agent.

    `text` is what is typed, the keys that are pressed together (`ctrl+c`), the application to open, the question to
    the user, or the closing answer. A `slide` goes from `point_2d` to `end_point_2d`: a swipe, or a drag of the mouse.
    """

    action: ActionType
    point_2d: MilliPoint | None = None
    end_point_2d: MilliPoint | None = None
    text: str | None = None
    direction: Direction | None = None

    @model_validator(mode="after")
    def _says_what_it_needs(self) -> Self:
        said = {name for name in ("point_2d", "end_point_2d", "text", "direction") if getattr(self, name) is not None}
        needed, allowed = NEEDS[self.action], NEEDS[self.action] | _MAY.get(self.action, frozenset())
        if missing := needed - said:
            raise ValueError(f"the action {self.action} needs {', '.join(sorted(missing))}")
        if extra := said - allowed:
            raise ValueError(f"the action {self.action} has no {', '.join(sorted(extra))}")
        return self

    def to_text(self) -> str:
        """The answer that carries the action."""
        return json.dumps(self.model_dump(mode="json", exclude_none=True), ensure_ascii=False)

    @classmethod
    def from_value(cls, value: Any) -> Self | None:
        """The action that a JSON value of an answer spells; None when it spells none."""
        try:
            return cls.model_validate(value) if isinstance(value, dict) and "action" in value else None
        except ValidationError:
            return None
