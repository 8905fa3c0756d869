"""The label of a page, and how far it may be trusted: what was read beside what the file says."""

import random
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rapidfuzz import fuzz

from step3vl.data.sample import Box, PageCheck, PresentCheck
from step3vl.grading.checks import squash
from step3vl.pipelines.documents.agreement import order_agreement, recall, token_agreement, tokens
from step3vl.pipelines.documents.blocks import Block, PageBlocks, PageRegion, WordIndex, at_edge, page_blocks
from step3vl.pipelines.documents.checks import page_checks, passing, text_span
from step3vl.pipelines.documents.lines import Line, is_centred_in
from step3vl.pipelines.documents.markup import EDGES, NUMBERS, to_markdown, to_text
from step3vl.pipelines.documents.questions import LabelForm
from step3vl.pipelines.models.ocr import OcrLine
from step3vl.pipelines.sources.documents.mineru import LabelBlock, labels_to_markdown
from step3vl.pipelines.sources.documents.pdf_text import PageWord

_TRUSTED = 0.9  # agreement with the file's text from which on it spells the lines and orders the blocks
_FEW = 0.2  # of the tokens that are read: a file with fewer only adds to a scan, such as a stamp
_NOT_READ = ("figure", "equation")  # blocks whose text is in no label
_TAG = re.compile(r"<[^<>]*>")
_ELSEWHERE = 8  # checks of a label that was made elsewhere


class PageLabel(NamedTuple):
    """The label of a page, and what is known about it."""

    form: LabelForm
    text: str
    marks: bool
    """It leaves something out, or stands for more than text: a table, a formula, a figure."""
    checks: tuple[PageCheck, ...]
    confidence: float
    """Of the OCR, on average over the characters, 0..1."""
    unsure: float
    """The share of the characters in lines that were left out, 0..1."""
    agreement: float | None
    """F1 of the tokens read and those of the file; None where the file says nothing."""
    order: float | None
    """Kendall's tau of the orders by layout and by the file; None where there is too little."""
    covered: float
    """The share of the characters read that the label is about, 0..1; the rest is in figures and formulas."""
    doubtful_table: bool
    """A table of the page has no structure that can be relied on."""


def label_page(
    lines: Sequence[OcrLine],
    regions: Sequence[PageRegion],
    words: Sequence[PageWord],
    form: LabelForm,
    min_line_confidence: float,
    rng: random.Random,
) -> PageLabel:
    """The label of a page from what was read on it.

    Args:
        lines: As they were read, at least one.
        regions: Of the layout.
        words: Of the file, in its order; none for a scan.
        form: "markdown" or "text".
        min_line_confidence: A line below it is left out.
        rng: Decides which checks are made.
    """
    by_layout = page_blocks(lines, regions, (), trusted=False)
    agreement, order = compare_with_file(by_layout, words)
    read = [line for block in by_layout.blocks if block.kind not in _NOT_READ for line in block.lines]
    sure = [line for line in lines if line.score >= min_line_confidence]
    characters = sum(len(line.text) for line in read)
    kept = [line for line in read if line.score >= min_line_confidence]
    trusted = agreement is not None and agreement >= _TRUSTED
    page = page_blocks(sure, regions, words, trusted=trusted) if sure else PageBlocks((), False, 1.0)
    text, left_out = (to_markdown(page), EDGES) if form == "markdown" else (to_text(page), NUMBERS)
    blocks = [block for block in page.blocks if block.kind not in left_out]
    return PageLabel(
        form=form,
        text=text,
        marks=len(blocks) < len(page.blocks) or any(block.kind in _NOT_READ or block.grid for block in blocks),
        checks=page_checks(page, text, left_out, rng) if text else (),
        confidence=_confidence(kept),
        unsure=1 - sum(len(line.text) for line in kept) / characters if characters else 0.0,
        agreement=agreement,
        order=order,
        covered=characters / max(sum(len(line.text) for line in lines), 1),
        doubtful_table=any(_is_doubtful(block) for block in blocks),
    )


def compare_with_file(page: PageBlocks, words: Sequence[PageWord]) -> tuple[float | None, float | None]:
    """How well a page, read and ordered without the file, agrees with it; formulas and figures left out.

    Args:
        page: The blocks by the layout alone.
        words: Of the file, in its order.

    Returns:
        F1 of the tokens, None where the file says next to nothing; and Kendall's tau of the order of the main body.
    """
    unread = [block.box for block in page.blocks if block.kind in _NOT_READ]
    reference = [word for word in words if not _inside_any(word.box, unread)]
    tokens = _tokens(line.text for block in page.blocks if block.kind not in _NOT_READ for line in block.lines)
    expected = _tokens(word.text for word in reference)
    if not expected or len(expected) < _FEW * len(tokens):
        return None, None
    edges = [block.box for block in page.blocks if not _is_ordered(block)]
    body = _tokens(line.text for block in page.blocks if _is_ordered(block) for line in block.lines)
    inner = _tokens(word.text for word in reference if not _inside_any(word.box, edges))
    return token_agreement(tokens, expected), order_agreement(body, inner)


def label_page_elsewhere(
    labels: tuple[LabelBlock, ...], lines: Sequence[OcrLine], words: Sequence[PageWord], rng: random.Random
) -> PageLabel:
    """The label of a page that was made elsewhere, beside what is read here.

    Args:
        labels: The blocks, in reading order.
        lines: As they were read, at least one.
        words: Of the file; where it says nothing, what is read is compared.
        rng: Decides which checks are made.
    """
    text = labels_to_markdown(labels)
    label_tokens = _tokens(_TAG.sub(" ", block.text) for block in labels if block.kind not in _NOT_READ)
    page_tokens = _tokens(line.text for line in lines)
    reference = _tokens(word.text for word in words) or page_tokens
    # The letters of formulas and figures stand on the page, and not among the tokens of the label.
    partial = any(block.kind in _NOT_READ for block in labels)
    agreement = (
        recall(reference, label_tokens) if partial and label_tokens else token_agreement(label_tokens, reference)
    )
    spans = [span for block in labels if block.kind in ("text", "title") and (span := text_span([block.text], rng))]
    squashed = squash(text)
    checks = [PresentCheck(text=span) for span in spans[:_ELSEWHERE] if squash(span) in squashed]
    return PageLabel(
        form="markdown_math",
        text=text,
        marks=any(block.kind not in ("text", "title", "list") for block in labels),
        checks=passing(checks, text),
        confidence=_confidence(lines),
        unsure=0.0,
        agreement=agreement,
        order=order_agreement(label_tokens, page_tokens),
        covered=1.0,
        doubtful_table=False,
    )


def line_agreement(line: OcrLine, words: WordIndex) -> float:
    """How well a line agrees with the words that the file has in its place, 0..1; spaces and punctuation left out."""
    inside = sorted(words.inside(line.box), key=lambda pair: pair[0])
    return fuzz.ratio(squash(line.text), squash("".join(word.text for _, word in inside))) / 100


def _tokens(texts: Iterable[str]) -> list[str]:
    return [token for text in texts for token in tokens(text)]


def _confidence(lines: Sequence[OcrLine | Line]) -> float:
    characters = sum(len(line.text) for line in lines)
    return sum(len(line.text) * line.score for line in lines) / characters if characters else 0.0


def _inside_any(box: Box, boxes: Sequence[Box]) -> bool:
    return any(is_centred_in(box, each) for each in boxes)


def _is_ordered(block: Block) -> bool:
    """Whether the place of a block among the others is certain: no figure or note, nor at the edge of the page."""
    return block.kind not in (*EDGES, *_NOT_READ, "note") and at_edge(block.box) is None


def _is_doubtful(block: Block) -> bool:
    return block.kind == "table" and block.grid is None and bool(block.lines)
