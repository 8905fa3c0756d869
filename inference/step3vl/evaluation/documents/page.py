"""A predicted page against its annotations: edit distances of texts, formulas and tables, TEDS, reading order.

`measure` runs in a worker process, because matching a degenerate prediction may take very long.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rapidfuzz.distance import Levenshtein

from step3vl.evaluation.documents.markdown import Block, read_blocks
from step3vl.evaluation.documents.matching import Match, assign, distances, quick_match
from step3vl.evaluation.documents.normalise import latex_to_text, squash, squash_formula, squash_text
from step3vl.evaluation.documents.tables import cell_texts, normal_table, teds

TEXTS = ("text_block", "title", "code_txt", "code_txt_caption", "reference")
IGNORED = (
    "equation_caption", "figure_caption", "figure_footnote", "table_caption", "table_footnote", "code_algorithm",
    "code_algorithm_caption", "header", "footer", "page_footnote", "page_number",
)  # fmt: skip
_FORMULA = "equation_isolated"
_MIXED = (*TEXTS, *IGNORED, _FORMULA)
_NEAR = 0.25  # of a prediction to an ignored block, which then takes it away
_ARRAY = re.compile(r"\\begin\{array\}\{(?P<columns>[^}]*)\}(?P<body>.*?)\\end\{array\}", re.DOTALL)


@dataclass(frozen=True)
class _Truth:
    category: str
    source: str
    text: str
    order: float


@dataclass(frozen=True)
class _Prediction:
    source: str
    text: str
    start: int
    label: str


def measure(page: Mapping[str, Any], prediction: str, simple: bool, aligned: bool) -> dict[str, Any]:
    """Compare a prediction with a page.

    Args:
        page: The official record, with `layout_dets` and `extra`.
        prediction: Markdown, with tables in HTML or Markdown and formulas in LaTeX.
        simple: Whether blocks and predictions are assigned one to one, as the original does where it takes too long.
        aligned: Whether a block's place in the reading order is its own. The original looks it up in a list from
            which the blocks without letters are not removed, so that later blocks get the place of an earlier one.

    Returns:
        Under `text`, `formula` and `table` a list of `[edits, length, indices]` for each match, the indices being
        those by which the original may mistake the page's name; under `teds` and `structure` a value for each table;
        under `order` the `[edits, length]` of the reading order, or None.
    """
    elements = _elements(page)
    blocks = read_blocks(prediction)
    tables = _measure_tables(elements.get("table", []), blocks)
    mixed = [block for kind in dict.fromkeys(block.kind for block in blocks) for block in blocks
             if block.kind == kind and kind in ("text", "formula")]  # fmt: skip
    mixed += tables.pop("unmatched")
    truth, truth_orders = _truth_lines(elements)
    predictions, starts = _prediction_lines(mixed)
    matches = _match(truth, predictions, simple)
    result: dict[str, Any] = {"text": [], "formula": [], "order": None, **tables}
    placed: list[tuple[list[float], int | None]] = []
    for match in matches:
        category = _category(truth, match)
        if category in IGNORED:
            continue
        orders = [truth[index].order if aligned else truth_orders[index] for index in match.truth]
        start = None
        if match.predicted:
            first = match.predicted[0]
            start = predictions[first].start if aligned else starts[first]
        indices = [
            *match.truth,
            *match.predicted,
            *(int(order) for order in orders),
            *([] if start is None else [start]),
        ]
        kind, expected = _expected(truth, predictions, match, category)
        text = "".join(predictions[index].text for index in match.predicted)
        result[kind].append([*_edits(expected, text), indices])
        if category != _FORMULA:
            placed.append((orders, start))
    result["order"] = _reading_order(placed)
    return result


def _edits(expected: Sequence[Any], text: Sequence[Any]) -> tuple[int, int]:
    return Levenshtein.distance(expected, text), max(len(expected), len(text))


def _elements(page: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The annotated blocks by category; those that a column or page break has cut are one."""
    merged: list[list[Any]] = []
    for relation in page.get("extra", {}).get("relation", ()):
        if relation["relation_type"] == "truncated":
            ends = [relation["source_anno_id"], relation["target_anno_id"]]
            group = next((group for group in merged if set(ends) & set(group)), None)
            if group is None:
                merged.append(ends)
            else:
                group += ends
    cut: dict[Any, dict[str, Any]] = {id_: {} for group in merged for id_ in group}
    elements: dict[str, list[dict[str, Any]]] = {}
    for block in page["layout_dets"]:
        if block["anno_id"] in cut:
            cut[block["anno_id"]] = block
        else:
            elements.setdefault(block["category_type"], []).append(block)
    for group in merged:
        parts = sorted((cut[id_] for id_ in group if cut[id_]), key=lambda block: block["order"])
        if parts:
            text = "".join(str(part.get("text", "")) for part in parts)
            elements.setdefault(parts[0]["category_type"], []).append({**parts[0], "text": text})
    return elements


def _by_order(blocks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(blocks, key=lambda block: block.get("order") or 0)


def _truth_lines(elements: Mapping[str, list[dict[str, Any]]]) -> tuple[list[_Truth], list[float]]:
    """The blocks that have letters, and the places of all blocks in the reading order."""
    lines = []
    for block in _by_order(block for category in _MIXED for block in elements.get(category, ())):
        category, order = block["category_type"], float(block.get("order") or 0)
        if category != _FORMULA:
            source = str(block.get("text") or "")
            lines.append(_Truth(category, source, squash_text(source), order))
            continue
        source = str(block.get("latex") or "")
        rows = _array_rows(source)
        for number, row in enumerate(rows or [source], 1):
            source = f"\\[{row}\\]" if rows else row
            lines.append(
                _Truth(category, source, squash_formula(source), round(order + number / 10, 1) if rows else order)
            )
    orders = [line.order for line in lines]
    return [line for line in lines if line.source and line.text], orders


def _array_rows(formula: str) -> list[str]:
    """The rows of an array with a single column; none where it has several, or is no array."""
    array = _ARRAY.search(formula)
    if array is None:
        return []
    columns = re.sub(r"!{[^}]*}", "", re.sub(r"@{[^}]*}", "", re.sub(r"\s+|\|", "", array["columns"])))
    return [row.strip() for row in array["body"].split("\\\\") if row.strip()] if columns in ("l", "c", "r") else []


def _prediction_lines(blocks: Sequence[Block]) -> tuple[list[_Prediction], list[int]]:
    """The predictions that have letters, inline formulas last, and the places of all."""
    lines: list[_Prediction] = []
    for block in sorted(blocks, key=lambda block: (block.label == "equation_inline", block.start)):
        rows = _array_rows(block.text) if block.kind == "formula" else []
        if not rows:
            text = {"text": squash_text, "formula": squash_formula}[block.kind](block.text)
            lines.append(_Prediction(block.text, text, block.start, block.label))
            continue
        array = _ARRAY.search(block.text)
        assert array is not None
        searched = 0
        for row in rows:
            place = max(array["body"].find(row, searched), searched)
            searched = place + len(row)
            source = f"\\[{row}\\]"
            lines.append(
                _Prediction(source, squash_formula(source), block.start + array.start("body") + place, block.label)
            )
    starts = [line.start for line in lines]
    return [line for line in lines if line.source and line.text], starts


def _match(truth: Sequence[_Truth], predictions: Sequence[_Prediction], simple: bool) -> list[Match]:
    texts, lines = [line.text for line in truth], [line.text for line in predictions]
    if not truth or not predictions:
        return [Match([index], []) for index in range(len(truth))]
    if len(truth) == len(predictions) == 1:
        return [Match([0], [0])]
    if simple:
        pairs = dict(assign(distances(texts, lines)))
        return [Match([index], [pairs[index]] if index in pairs else []) for index in range(len(texts))]
    counted = [index for index, line in enumerate(truth) if line.category not in IGNORED]
    ignored = distances([line.text for line in truth if line.category in IGNORED], lines)
    left = [place for place in range(len(lines)) if not (ignored[:, place] < _NEAR).any()]
    matches = quick_match([texts[index] for index in counted], [lines[place] for place in left])
    return [
        Match([counted[index] for index in match.truth], [left[place] for place in match.predicted])
        for match in matches
    ]


def _category(truth: Sequence[_Truth], match: Match) -> str:
    categories = [truth[index].category for index in match.truth]
    counted = [category for category in categories if category not in IGNORED]
    return Counter(counted or categories).most_common(1)[0][0]


def _expected(
    truth: Sequence[_Truth], predictions: Sequence[_Prediction], match: Match, category: str
) -> tuple[str, str]:
    """Whether a match counts as text or as formula, and what is expected; a formula that was read as text is text."""
    expected = "".join(truth[index].text for index in match.truth)
    if category != _FORMULA:
        return "text", expected
    label = predictions[match.predicted[0]].label if match.predicted else ""
    if label in ("equation_inline", "equation_isolated", ""):
        return "formula", expected
    sources = [truth[index].source for index in match.truth]
    source = sources[0]
    if len(sources) > 1:
        rows = " \\\\ ".join("{" + row.strip("$").strip("\n") + "}" for row in sources)
        source = f"\\begin{{array}}{{l}} {rows} \\end{{array}}"
    text = latex_to_text(source)
    return "text", squash(text) or text


def _reading_order(placed: Sequence[tuple[list[float], int | None]]) -> list[int] | None:
    """Edits from the true to the predicted order of blocks, and the longer length; None where there are no blocks."""
    expected = sorted(order for orders, _ in placed for order in orders if order)
    starts = sorted((start, number) for number, (_, start) in enumerate(placed) if start is not None)
    predicted = [order for _, number in starts for order in placed[number][0] if order]
    return list(_edits(expected, predicted)) if expected or predicted else None


def _measure_tables(annotated: Sequence[dict[str, Any]], blocks: Sequence[Block]) -> dict[str, Any]:
    """Tables, assigned one to one by the edit distance of their sources. Tables in LaTeX are not read.

    `unmatched` holds the cells of superfluous tables as texts, which may have been annotated as such.
    """
    truth = [block for block in _by_order(annotated) if block.get("html")]
    predicted = [block for block in blocks if block.kind == "html table" and block.text]
    if sum(block.kind == "latex table" for block in blocks) > len(predicted):
        predicted = []
    pairs: dict[int, int] = {}
    if truth and predicted:
        costs = distances([str(block["html"]) for block in truth], [block.text for block in predicted])
        pairs = dict(assign(costs))
    result: dict[str, Any] = {"table": [], "teds": [], "structure": [], "unmatched": []}
    for index, block in enumerate(truth):
        place = pairs.get(index)
        expected = normal_table(str(block["html"]))
        text = normal_table(predicted[place].text) if place is not None else ""
        indices = [index, int(block.get("order") or 0), *([place, predicted[place].start] if place else [])]
        indices += [0] if place == 0 else []
        result["table"].append([*_edits(expected or str(block["html"]), text), indices])
        result["teds"].append(teds(text, expected))
        result["structure"].append(teds(text, expected, structure_only=True))
    if truth:
        superfluous = [block for place, block in enumerate(predicted) if place not in pairs.values()]
        result["unmatched"] = [
            replace(block, kind="text", text=text) for block in superfluous for text in cell_texts(block.text)
        ]
    return result
