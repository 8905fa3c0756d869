"""Samples of tasks: the trajectory and its single steps of one that was done, and whether one was done at all."""

import random
from collections.abc import Iterator
from typing import NamedTuple

from step3vl.data.sample import (
    Action,
    ActionTruth,
    Box,
    GuiStep,
    Image,
    Kind,
    OptionTruth,
    Parts,
    Sample,
    Source,
    image,
    text,
    trajectory,
)
from step3vl.pipelines.core.phrasings import Language, paragraph
from step3vl.pipelines.core.samples import compose
from step3vl.pipelines.domains.gui_instructions import FORMAT
from step3vl.pipelines.domains.gui_phrasings import ask
from step3vl.pipelines.domains.gui_questions import describe_action
from step3vl.pipelines.gui.effect import describe_effect
from step3vl.pipelines.gui.screen import Episode, Step, target_of


class Move(NamedTuple):
    """What the agent thinks and does on a screen."""

    screen: int
    reasoning: str
    action: Action
    truth: ActionTruth


def moves(episode: Episode, language: Language) -> list[Move]:
    """The moves of a task, the last of which says that it is done.

    The reasoning says what was observed of the action before, and what comes next.
    """
    result = []
    seen = _first_look(episode, language)
    for step in episode.steps:
        intent = _intent(episode, step, language)
        result.append(Move(step.before, paragraph(language, seen, intent), step.action, _truth(episode, step)))
        seen = describe_effect(step.effect, language)
    action = Action(action="complete", text=episode.answer or None)
    if episode.answer:
        end = f"The screen says {episode.answer}." if language == "en" else f"屏幕上显示 {episode.answer}。"
    else:
        end = "The task is done." if language == "en" else "任务完成。"
    result.append(Move(episode.steps[-1].after, paragraph(language, seen, end), action, ActionTruth(action=action)))
    return result


def trajectory_sample(
    episode: Episode, images: list[Image], language: Language, kind: Kind, source: Source, rng: random.Random
) -> Sample:
    """The whole task: the goal, then screen, reasoning and action in turn."""
    done = moves(episode, language)
    goal = paragraph(
        language, ask("trajectory", language, rng, goal=episode.goal[language]), rng.choice(FORMAT[language])
    )
    steps = [GuiStep(number, move.reasoning, move.action) for number, move in enumerate(done)]
    screens = tuple(images[move.screen] for move in done)
    task = "gui.trajectory.retrieval" if episode.answer else "gui.trajectory.operation"
    truth = done[-1].truth
    if kind == "conversation":
        messages = trajectory(goal, steps)
        return Sample.make(domain="gui", task=task, messages=messages, images=screens, truth=truth, source=source)
    content: Parts = (text(goal),)
    for step in steps:
        content += (image(step.screen), text(f"{step.reasoning}\n{step.action.to_text()}"))
    return Sample.make(domain="gui", task=task, content=content, images=screens, truth=truth, source=source)


def step_samples(
    episode: Episode, images: list[Image], language: Language, kind: Kind, source: Source, rng: random.Random
) -> Iterator[Sample]:
    """Each step of a task: the goal, what was done before in words, and the screen, to the next action."""
    history: list[str] = []
    for number, move in enumerate(moves(episode, language)):
        past = paragraph(language, *history)
        if past:
            past = f"So far: {past}" if language == "en" else f"已完成：{past}"
        question = ask("next", language, rng, goal=episode.goal[language], history=past).replace("  ", " ")
        yield compose(
            kind=kind,
            domain="gui",
            task="gui.trajectory.step",
            question=paragraph(language, question.strip(), rng.choice(FORMAT[language])),
            answer=move.action.to_text(),
            reasoning=move.reasoning,
            truth=move.truth,
            images=[images[move.screen]],
            source=source,
        )
        if number < len(episode.steps):
            step = episode.steps[number]
            done = _numbered(number, describe_action(episode, step, language), language)
            history.append(paragraph(language, done, describe_effect(step.effect, language)))


def verification_samples(
    episode: Episode,
    images: list[Image],
    language: Language,
    kind: Kind,
    source: Source,
    rng: random.Random,
    *,
    done: bool,
) -> Iterator[Sample]:
    """Whether the goal is reached after an action: at the end, and at a random place before it.

    Args:
        episode: With its goal.
        images: Of its screens.
        language: Of the question.
        kind: Of the samples.
        source: Of the samples.
        rng: Chooses.
        done: Whether the goal is reached in the end.
    """
    places = {len(episode.steps) - 1, rng.randrange(len(episode.steps))}
    for number in sorted(places):
        step = episode.steps[number]
        past = [
            _numbered(n, describe_action(episode, each, language), language) for n, each in enumerate(episode.steps)
        ]
        history = paragraph(language, *past[: number + 1])
        options = ("yes", "no") if language == "en" else ("是", "否")
        answer = options[0] if done and number == len(episode.steps) - 1 else options[1]
        yield compose(
            kind=kind,
            domain="gui",
            task="gui.trajectory.verification",
            question=ask("verify", language, rng, goal=episode.goal[language], history=history),
            answer=answer,
            reasoning=describe_effect(step.effect, language),
            truth=OptionTruth(option=answer, options=options),
            images=[images[step.after]],
            source=source,
        )


def _numbered(number: int, action: str, language: Language) -> str:
    return f"{number + 1}. {action[0].upper()}{action[1:]}{'.' if language == 'en' else '。'}"


def _first_look(episode: Episode, language: Language) -> str:
    title = episode.screens[episode.steps[0].before].title
    if episode.view.get("platform") == "desktop":
        return f"The program “{title}” is open." if language == "en" else f"当前程序是“{title}”。"
    return f"The page “{title}” is open." if language == "en" else f"当前页面是“{title}”。"


def _intent(episode: Episode, step: Step, language: Language) -> str:
    action = describe_action(episode, step, language)
    if step.action.action == "scroll":
        if language == "en":
            return f"What is needed is not on the screen, so I {action}."
        return f"需要的内容不在屏幕上，所以{action}。"
    return f"Next, I {action}." if language == "en" else f"接下来{action}。"


def _truth(episode: Episode, step: Step) -> ActionTruth:
    """Where the action may be performed: anywhere on its element; a slide on its handle, to anywhere near its end."""
    size = episode.screens[step.before].size
    if step.start_box is not None and step.end_box is not None:
        start, end = (Box(*box, "pixels", size).milli() for box in (step.start_box, step.end_box))
        return ActionTruth(action=step.action, boxes=(start,), end_boxes=(end,))
    if step.start_box is not None:  # a part of an element, or a place that is none
        return ActionTruth(action=step.action, boxes=(Box(*step.start_box, "pixels", size).milli(),))
    target = target_of(episode, step)
    boxes = (episode.screens[step.before].box_of(target).milli(),) if target is not None else ()
    return ActionTruth(action=step.action, boxes=boxes)
