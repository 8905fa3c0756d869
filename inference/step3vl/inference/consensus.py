"""Whether enough parallel answers agree that the rest need not be drawn."""

from collections import Counter
from collections.abc import Sequence

from step3vl.data.truth import normalise

BOX = "\\boxed{"


def final_answer(answer: str) -> str:
    """What two answers are compared by: the content of the last `\\boxed{…}`, or all of it, normalised."""
    start = answer.rfind(BOX)
    if start < 0:
        return normalise(answer)
    depth = 1
    for end in range(start + len(BOX), len(answer)):
        depth += {"{": 1, "}": -1}.get(answer[end], 0)
        if depth == 0:
            return normalise(answer[start + len(BOX) : end])
    return normalise(answer)


def agreed(answers: Sequence[str], rollouts: int, threshold: float) -> int | None:
    """The place of the first answer that a share of at least `threshold` of all rollouts gave; None without one.

    `answers` are those that have ended so far. One alone agrees with nobody.
    """
    forms = [final_answer(answer) for answer in answers]
    given = Counter(form for form in forms if form)
    if not given:
        return None
    form, count = given.most_common(1)[0]
    return forms.index(form) if count >= max(2, threshold * rollouts) else None
