"""What judges are asked and what they reply, where several benchmarks share it.

The wording is this project's; it asks for what the authors' judges are asked for, in a reply that can be read.
"""

import re
from collections.abc import Sequence

from step3vl.data.sample import Message
from step3vl.data.sample.answers import last_object
from step3vl.evaluation.item import Score
from step3vl.evaluation.prompts import user_message

_RATING = re.compile(r"\[\[\s{0,3}(\d{1,2}(?:\.\d{1,3})?)\s{0,3}\]\]")
_YES_NO = re.compile(r"\b(YES|NO)\b")


def criteria_message(conversation: str, response: str, criteria: Sequence[str], images: int = 0) -> Message:
    """Asks which of several criteria a response meets, as a JSON list of true and false."""
    listed = "\n".join(f"{number}. {criterion}" for number, criterion in enumerate(criteria, 1))
    return user_message(
        "Below are a conversation, a response to its last message, and criteria. For each criterion, decide whether "
        "the response meets it. A criterion may describe something undesirable; it is met where the response "
        "does that. A criterion with several parts is met only where all of them are.\n\n"
        f"# Conversation\n{conversation}\n\n"
        f"# Response\n{response}\n\n# Criteria\n{listed}\n\n"
        'Explain each decision in a sentence. Then end with a JSON object {"criteria_met": [...]} that has true or '
        f"false for each of the {len(criteria)} criteria, in order.",
        images,
    )


def read_criteria(judgement: str, count: int) -> list[bool] | None:
    """Which criteria are met; None unless the judge decided on each of them."""
    decisions = last_object(judgement, "criteria_met").get("criteria_met")
    if not isinstance(decisions, list) or len(decisions) != count:
        return None
    return decisions if all(isinstance(decision, bool) for decision in decisions) else None


def read_rating(judgement: str, highest: float = 10.0) -> float | None:
    """The last `[[n]]` of a judgement; None without one, or beyond the scale."""
    ratings = [float(match[1]) for match in _RATING.finditer(judgement)]
    return ratings[-1] if ratings and ratings[-1] <= highest else None


def read_yes_no(judgement: str) -> bool | None:
    """The last YES or NO in capitals; None without one."""
    words = _YES_NO.findall(judgement)
    return words[-1] == "YES" if words else None


def transcript(messages: Sequence[Message]) -> str:
    """The texts of a conversation with their roles."""
    return "\n\n".join(
        f"{message.role}: " + "".join(part.text for part in message.content if part.type == "text")
        for message in messages
    )


def rated(rating: float | None) -> Score:
    """The score of a rating from 0 to 10."""
    if rating is None:
        return Score.unparsable("the judge gave no rating")
    value = min(max(rating / 10, 0.0), 1.0)
    return Score.graded(value, None, f"rated {rating:g} of 10", rating=rating)
