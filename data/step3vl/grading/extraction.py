r"""From a reply to the text that is graded: reasoning split off, then what the reply marks as its answer.

One rule for the reasoning, on every path (rewards, synthesis data, evaluation):

- The chat template opens `<think>` in the prompt, so that a reply begins inside its reasoning. A leading `<think>`,
  which some servers repeat, is removed.
- The answer is what follows the **last** `</think>`, as in the published PaCoRe code.
- A reply that ended without a `</think>` has no answer; it is unparsable. So it is for the evaluation of the released
  model too: the reasoning parser of the server takes all of such a reply for reasoning. A reply of a model that does
  not reason, or one whose reasoning its server keeps apart, holds an answer only: `grade_answer` is for it.
- A reply that was cut off is truncated, whatever it says.

An answer may mark its final part, and the last mark counts: `\boxed{…}`, `<answer>…</answer>` and GLM's box tags
first, then phrases such as "the answer is", "Answer:" and "答案是".
"""

import re
from typing import NamedTuple

from step3vl.data.tokens import END_THINK, THINK, split_answer

MAX_CHARS = 2**16
"""Longer answers are cut, at their beginning or their end as fits the kind of truth."""


class SplitReply(NamedTuple):
    """A reply's reasoning and its answer; `closed` says whether the reasoning ended."""

    reasoning: str
    answer: str
    closed: bool


def split_reply(text: str) -> SplitReply:
    """Split a sampled reply at its last `</think>`; without one it is reasoning that never ended, and no answer.

    Args:
        text: the whole sampled text, without the end-of-turn token.
    """
    if END_THINK not in text:
        return SplitReply(text.removeprefix(THINK).strip("\n"), "", False)
    return SplitReply(*split_answer(text), True)


_BOXES = (r"\boxed{", r"\fbox{")
_TAGS = (("<answer>", "</answer>"), ("<|begin_of_box|>", "<|end_of_box|>"))
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)

_MARKUP = r"[\s*_`\"'“”「」]*"
_PHRASE = re.compile(
    rf"(?:\banswer{_MARKUP}(?:\b(?:is|(?:would|should|must) be)\b\s*[:：]?|[:：=])"
    rf"|答案{_MARKUP}(?:应该|应当)?[是为為选選]?\s*[:：]?)(?:\*\*(?=\s))?",
    re.IGNORECASE,
)


def marked_answer(answer: str) -> str | None:
    r"""What the last `\boxed{…}`, `<answer>…</answer>` or `<|begin_of_box|>…<|end_of_box|>` of an answer holds.

    None without one. A mark that is never closed is none.
    """
    spans = [*(_boxed(answer, opening) for opening in _BOXES), *(_tagged(answer, *tags) for tags in _TAGS)]
    start, end = max(spans)
    return answer[start:end].strip() if end else None


def _boxed(text: str, opening: str) -> tuple[int, int]:
    """The span inside the last braces that `opening` opens; (0, 0) without one."""
    start = text.rfind(opening) + len(opening)
    depth = 1
    if start >= len(opening):
        for brace in _BRACE.finditer(text, start):
            depth += {"{": 1, "}": -1}.get(brace[0], 0)
            if depth == 0:
                return start, brace.start()
    return 0, 0


def _tagged(text: str, opening: str, closing: str) -> tuple[int, int]:
    end = text.rfind(closing)
    start = text.rfind(opening, 0, max(end, 0)) + len(opening)
    return (start, end) if start >= len(opening) else (0, 0)


def phrased_answer(answer: str) -> str | None:
    """What follows the last phrase such as "the answer is", "Answer:" or "答案是"; None without one."""
    end = max((match.end() for match in _PHRASE.finditer(answer)), default=None)
    return None if end is None else answer[end:].strip()
