"""Conversations about one image: which questions, how many, and in what form."""

import random
from collections.abc import Callable, Mapping
from typing import Protocol

from step3vl.pipelines.domains.vqa_questions.turns import Draft, Language, Style, Subject, Turn, word

_UNANSWERABLE = ("absent_label", "absent_key", "absent_object")
_TRIES = 12  # kinds that are tried for a question; many find none in a small image


class Asker(Protocol):
    """Knows an image, and what can be asked about it."""

    def kinds(self) -> Mapping[str, Callable[[], Draft | None]]:
        """The kinds of questions that suit the image, each with what makes one: None where chance finds none."""


def converse(
    asker: Asker,
    subject: Subject,
    language: Language,
    length: int,
    choices: float,
    unanswerable: float,
    asked: set[str],
    rng: random.Random,
) -> tuple[Turn, ...]:
    """The turns of a conversation: different questions, and now and then one that follows up on the one before.

    Args:
        asker: Knows the image.
        subject: What the image is.
        language: Of the questions.
        length: Turns, as far as there is enough to ask.
        choices: The fraction of questions that offer options.
        unanswerable: The fraction of questions that ask for what the image does not show.
        asked: Questions of earlier conversations about the image, which are not asked again; added to.
        rng: Chooses what is asked.

    Raises:
        ValueError: The ways to an answer differ.
    """
    makers = dict(asker.kinds())
    absent = [makers.pop(kind) for kind in _UNANSWERABLE if kind in makers]
    follow_up: Callable[[Draft], Draft | None] | None = getattr(asker, "follow_up", None)
    turns: list[Turn] = []
    before: Draft | None = None
    for _ in range(_TRIES):
        if len(turns) == length or not (makers or absent):
            break
        draft: Draft | None = None
        if before is not None and follow_up is not None and rng.random() < 0.4:
            draft = follow_up(before)
        if draft is None and absent and rng.random() < unanswerable:
            draft = rng.choice(absent)()
        if draft is None and makers:
            draft = makers[rng.choice(sorted(makers))]()
        if draft is None or _key(draft) in asked:
            continue
        style: Style = "choice" if rng.random() < choices else "free"
        turn = word(draft, subject, language, style, rng)
        if draft.only_choice and turn.style != "choice":
            continue
        asked.add(_key(draft))
        turns.append(turn)
        before = draft
    return tuple(turns)


def _key(draft: Draft) -> str:
    """What tells a question from another, however it is worded and whatever its values are quoted by."""
    values = sorted(value.strip('"“”') for value in draft.values.values())
    kind = "value" if draft.kind in ("next_value", "only_value") else draft.kind
    return "\0".join((kind, *values, draft.answer if draft.only_choice else ""))
