"""Builders of messages: a single exchange, and the trajectory of a GUI agent."""

from collections.abc import Sequence
from typing import NamedTuple

from step3vl.data.sample.action import Action
from step3vl.data.sample.parts import Parts, image, text
from step3vl.data.sample.sample import Message


def conversation(question: Parts, answer: str, reasoning: str = "", system: str | None = None) -> tuple[Message, ...]:
    """The messages of a single exchange."""
    turns = [] if system is None else [Message(role="system", content=(text(system),))]
    turns.append(Message(role="user", content=question))
    turns.append(Message(role="assistant", content=(text(answer),), reasoning_content=reasoning))
    return tuple(turns)


class GuiStep(NamedTuple):
    """An agent's reasoning and action on a screen. `screen` is the index of its image."""

    screen: int
    reasoning: str
    action: Action


def trajectory(goal: str, steps: Sequence[GuiStep], system: str | None = None) -> tuple[Message, ...]:
    """The messages of a GUI trajectory: the goal with the first screen, then reasoning, action and the next screen.

    Later screens are `tool` turns. They ask no question, so all reasoning stays visible and every step is trained.
    """
    turns = [] if system is None else [Message(role="system", content=(text(system),))]
    for number, step in enumerate(steps):
        turns.append(screen_turn(step.screen, goal) if number == 0 else screen_turn(step.screen))
        turns.append(agent_turn(step.action.to_text(), step.reasoning))
    return tuple(turns)


def screen_turn(screen: int, goal: str = "") -> Message:
    """The turn of a trajectory that shows a screen: the first one with the goal, later ones alone.

    Args:
        screen: The index of its image.
        goal: What is to be done, and how actions are answered.
    """
    if goal:
        return Message(role="user", content=(image(screen), text(goal)))
    return Message(role="tool", content=(image(screen),))


def agent_turn(answer: str, reasoning: str) -> Message:
    """The turn of a trajectory in which the agent acts."""
    return Message(role="assistant", content=(text(answer),), reasoning_content=reasoning)
