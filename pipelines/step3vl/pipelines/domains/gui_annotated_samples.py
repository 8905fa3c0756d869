"""Samples of public sets of interfaces: a target that is asked for, a step, an instruction, a whole trajectory."""

import random
from collections.abc import Sequence

from step3vl.data.sample import (
    ActionTruth,
    BoxTruth,
    GuiStep,
    Image,
    Kind,
    OptionTruth,
    Parts,
    PointTruth,
    Sample,
    Size,
    Source,
    Truth,
    format_boxes,
    format_point,
    image,
    text,
    trajectory,
)
from step3vl.pipelines.core.phrasings import paragraph
from step3vl.pipelines.core.samples import compose
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.domains.gui_annotated_phrasings import ask_for, language_of
from step3vl.pipelines.domains.gui_instructions import FORMAT
from step3vl.pipelines.domains.gui_phrasings import ask
from step3vl.pipelines.grounding.conventions import GeometryError, polygon_in_pixels
from step3vl.pipelines.grounding.masks import mask_of_polygons, point_in_mask, spots_of_mask
from step3vl.pipelines.gui.sets.actions import to_action
from step3vl.pipelines.gui.sets.records import Place, RawEpisode, RawStep, RawTarget

_EXISTS = 0.1  # of targets that are there, about which it is asked whether they are
_BOX = 0.4  # of targets of which the box is asked for, not a point
_LONGEST = 2000  # characters of an instruction or a goal
_HISTORY = 12  # steps that are told before the next
Answer = tuple[str, str, str, Truth]
"""A task, what is asked, the answer and its truth."""


def target_sample(target: RawTarget, screen: Image, kind: Kind, source: Source, rng: random.Random) -> Sample:
    """The question for a target: its point, its box, or whether it is there.

    Raises:
        GeometryError: Its place is none on this screen.
        Dropped: Nothing tells the target.
    """
    _require_text(target.text)
    asked, task, answer, truth = _answer(target, (screen.width, screen.height), rng)
    return compose(
        kind=kind,
        domain="gui",
        task=task,
        question=ask_for(asked, target.phrase, target.text, rng),
        answer=answer,
        truth=truth,
        images=[screen],
        source=_with(source, phrase=target.phrase, role=target.role),
    )


def _answer(target: RawTarget, size: Size, rng: random.Random) -> Answer:
    place = target.place
    yes, no = ("yes", "no") if language_of(target.text) == "en" else ("是", "否")
    if place is None or rng.random() < _EXISTS:
        if place is not None:
            place.box(size)
        answer = no if place is None else yes
        return "exists", "gui.grounding.exists", answer, OptionTruth(option=answer, options=(yes, no))
    if place.order == "polygon":
        return _point_of_polygon(place, size)
    box = place.box(size)
    if rng.random() < _BOX:
        return "box", "gui.grounding.box", format_boxes([box]), BoxTruth(boxes=(box.milli(),))
    return "point", "gui.grounding.point", format_point(box.centre), PointTruth(boxes=(box.milli(),))


def _point_of_polygon(place: Place, size: Size) -> Answer:
    """A point well inside of a polygon, whose box may hold other things."""
    place.box(size)  # which it must have
    annotated = place.size or size
    mask, origin = mask_of_polygons([polygon_in_pixels(place.values, place.unit, annotated)], annotated)
    if not mask.any():
        raise GeometryError("no_area")
    point, spots = point_in_mask(mask, annotated, origin), spots_of_mask(mask, annotated, origin)
    truth = PointTruth(boxes=spots)
    return "point", "gui.grounding.point", format_point(point), truth


def instruction_sample(step: RawStep, screen: Image, kind: Kind, source: Source, rng: random.Random) -> Sample:
    """A single action by its own instruction."""
    _require_text(step.instruction)
    action, truth = _action(step, screen)
    language = language_of(step.instruction)
    return compose(
        kind=kind,
        domain="gui",
        task="gui.action.single",
        question=paragraph(language, _sentence(step.instruction), rng.choice(FORMAT[language])),
        answer=action,
        truth=truth,
        images=[screen],
        source=_with(source, loss=step.loss),
    )


def step_sample(
    episode: RawEpisode, number: int, screen: Image, kind: Kind, source: Source, rng: random.Random
) -> Sample:
    """A step of a task: the goal, what was done before in words, and the screen, to the next action."""
    _require_text(episode.goal)
    step, language = episode.steps[number], language_of(episode.goal)
    action, truth = _action(step, screen)
    first = max(0, number - _HISTORY)
    before = [f"{at + 1}. {_sentence(_told(episode.steps[at]))}" for at in range(first, number)]
    history = paragraph(language, "So far:" if language == "en" else "已完成：", *before) if before else ""
    question = ask("next", language, rng, goal=_sentence(episode.goal), history=history).replace("  ", " ")
    return compose(
        kind=kind,
        domain="gui",
        task="gui.trajectory.step",
        question=paragraph(language, question.strip(), rng.choice(FORMAT[language])),
        answer=action,
        reasoning=step.reasoning,
        truth=truth,
        images=[screen],
        source=_with(source, loss=step.loss),
    )


def trajectory_sample(
    episode: RawEpisode, screens: Sequence[Image], kind: Kind, source: Source, rng: random.Random
) -> Sample:
    """A whole task: the goal, then screen, reasoning and action in turn."""
    _require_text(episode.goal)
    language = language_of(episode.goal)
    goal = paragraph(
        language, ask("trajectory", language, rng, goal=_sentence(episode.goal)), rng.choice(FORMAT[language])
    )
    steps: list[GuiStep] = []
    truth: ActionTruth | None = None
    for number, (step, screen) in enumerate(zip(episode.steps, screens, strict=True)):
        if step.action is None:
            raise Dropped(step.loss)
        action, truth = to_action(step.action, (screen.width, screen.height))
        steps.append(GuiStep(number, step.reasoning, action))
    losses = sorted({step.loss for step in episode.steps if step.loss})
    labelled = _with(source, loss=losses[0] if len(losses) == 1 else "several" if losses else "")
    task, images = "gui.trajectory.operation", tuple(screens)
    if kind == "conversation":
        messages = trajectory(goal, steps)
        return Sample.make(domain="gui", task=task, messages=messages, images=images, truth=truth, source=labelled)
    content: Parts = (text(goal),)
    for each in steps:
        content += (image(each.screen), text(f"{each.reasoning}\n{each.action.to_text()}".strip()))
    return Sample.make(domain="gui", task=task, content=content, images=images, truth=truth, source=labelled)


def _action(step: RawStep, screen: Image) -> tuple[str, ActionTruth]:
    if step.action is None:
        raise Dropped(step.loss)
    action, truth = to_action(step.action, (screen.width, screen.height))
    return action.to_text(), truth


def _told(step: RawStep) -> str:
    """A step in words: its instruction, or the action without coordinates, which no one says of what was done."""
    if step.instruction:
        return step.instruction
    if step.action is None:
        return step.loss.replace("_", " ")
    words = [step.action.action.replace("_", " "), step.action.direction or "", step.action.text or ""]
    return " ".join(filter(None, words))


def _sentence(value: str) -> str:
    """A text that others can follow."""
    value = " ".join(value.split())
    return value if value[-1:] in ".!?。！？" else value + ("." if language_of(value) == "en" else "。")


def _require_text(value: str) -> None:
    if not value.strip():
        raise Dropped("no_text")
    if len(value) > _LONGEST:
        raise Dropped("text_too_long")


def _with(source: Source, **traits: str) -> Source:
    return source.model_copy(update={"traits": {**source.traits, **{k: v for k, v in traits.items() if v}}})
