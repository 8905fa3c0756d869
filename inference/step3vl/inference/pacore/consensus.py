"""Whether enough rollouts of a round agree that the others are not needed."""

from collections import Counter
from collections.abc import Sequence

from step3vl.grading import final_answer


def find_consensus(answers: Sequence[str], rollouts: int, threshold: float) -> int | None:
    """Return the index of the first answer that at least a share of all rollouts gave; None without a consensus.

    Answers are compared by what they mark as final, such as `\\boxed{…}`, or completely.

    Args:
        answers: The answers that are complete so far. A consensus needs two of them.
        rollouts: Rollouts of the round.
        threshold: The share that must agree, 0 to 1.
    """
    finals = [final_answer(answer) for answer in answers]
    counts = Counter(answer for answer in finals if answer)
    if not counts:
        return None
    answer, count = counts.most_common(1)[0]
    return finals.index(answer) if count >= max(2, threshold * rollouts) else None
