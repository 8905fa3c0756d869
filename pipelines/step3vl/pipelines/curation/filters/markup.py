"""Samples whose form is damaged, and conversations whose answer says nothing of the question."""

import re
from collections import Counter
from typing import Any

from step3vl.data.tokens import SPECIAL_TOKENS
from step3vl.pipelines.curation.filters.view import Filter, Finding, SampleView, parts_text

_SPECIAL = re.compile("|".join([*(re.escape(token.content) for token in SPECIAL_TOKENS if token.special), "<image>"]))
_FENCE = re.compile(r"^ {0,3}(?:[-*+>]\s+|\d+[.)]\s+)?(`{3,}|~{3,})", re.MULTILINE)
_ENVIRONMENT = re.compile(r"\\(begin|end)\{([A-Za-z]+\*?)\}")
_MOJIBAKE = re.compile(
    "\u00c3[\u0080-\u00bf]|\u00e2\u20ac[\u2122\u0153\u009d\u02dc\u201c\u201d]|\u00c2[\u00a0-\u00bf]"
)
_MOJIBAKE_SHARE = 0.002  # of the characters; a text about encodings has an example or two
_BLIND = re.compile(
    r"\bas an? (?:ai|artificial intelligence)(?: language)? (?:model|assistant)\b"
    r"|\bi(?:'m| am)?\s+(?:cannot|can't|can not|unable to|not able to|do not have the ability to)\s+"
    r"(?:directly\s+|actually\s+)?(?:see|view|access|open|display|analy[sz]e)\b.{0,30}"
    r"\b(?:image|photo|file|picture)s?\b"  # words: of answers
    r"|\bno image (?:was|has been|is) (?:provided|attached|uploaded|included)\b"
    r"|作为(?:一个|一名)?(?:人工智能|AI|语言模型)|(?:无法|不能)(?:直接)?(?:查看|看到|访问|打开).{0,6}(?:图片|图像|照片|文件)",
    re.IGNORECASE,
)


class FormattingFilter(Filter):
    """Control tokens in a text, code fences and LaTeX environments that are not closed, and mojibake."""

    def find(self, sample: SampleView) -> Finding | None:
        return formatting_fault(sample.text)


def formatting_fault(text: str) -> Finding | None:
    """What is damaged in the form of a text, if anything."""
    if token := _SPECIAL.search(text):
        return Finding("control_token", detail=token[0])
    fences = [fence[0] for fence in _FENCE.findall(text)]
    if len(fences) % 2:
        return Finding("unclosed_code", len(fences))
    environments: Counter[str] = Counter()
    for side, name in _ENVIRONMENT.findall(text):
        environments[name] += 1 if side == "begin" else -1
    if unclosed := sorted(name for name, count in environments.items() if count):
        return Finding("unclosed_environment", detail=unclosed[0])
    garbled = len(_MOJIBAKE.findall(text)) / max(1, len(text))
    return Finding("mojibake", garbled, _MOJIBAKE_SHARE) if garbled > _MOJIBAKE_SHARE else None


class AnswerFilter(Filter):
    """Conversations without a question or an answer, and answers of an annotator that could not see the image.

    That a question cannot be answered from the image is an answer, and passes.
    """

    def find(self, sample: SampleView) -> Finding | None:
        return answer_fault(sample)


def answer_fault(sample: SampleView) -> Finding | None:
    """Why the last answer of a conversation teaches nothing; None for a document."""
    messages = sample.row.get("messages")
    if messages is None:
        return None
    last = messages[-1]
    answer = parts_text(last["content"])
    if not last.get("tool_calls") and not any(map(str.isprintable, answer.strip())):
        return Finding("empty_answer")
    if not sample.question.strip() and not _has_image(messages):
        return Finding("empty_question")
    if blind := _BLIND.search(answer):
        return Finding("blind_answer", detail=blind[0])
    if answer.strip().casefold() == sample.question.strip().casefold():
        return Finding("echo")
    return None


def _has_image(messages: Any) -> bool:
    return any(part["type"] == "image" for message in messages for part in message["content"])
