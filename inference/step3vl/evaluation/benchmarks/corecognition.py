"""CoreCognition: what children know of objects, space and minds; letters, or yes and no."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from step3vl.evaluation.benchmark import About, DataFile, Rule
from step3vl.evaluation.extraction.letters import Reading, read_option, read_yes_no
from step3vl.evaluation.item import Item, Score
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record, score_reading

# The authors' templates, in their order; the second does not begin within its own run of marks, which changes nothing
# but the time that it takes.
_TEMPLATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"^(yes|no|\w)(?:,|\.|;| |\n|\*)+",
        r"(?<![\n*{])[\n*{]+(yes|no|\w)(?:,|\.|;| |\n|\*|\})+",
        r"(yes|no|\w) is the correct answer",
        r"answer is[:;*\n ]*(yes|no|\w)",
        r"answer[:;*\n ]*(yes|no|\w)",
        r"choice is[:;*\n ]*(yes|no|\w)",
        r"choice[:;*\n ]*(yes|no|\w)",
        r"option is[:;*\n ]*(yes|no|\w)",
        r"Assistant[:;*\n ]*(yes|no|\w)",
    )
)
_SEPARATOR = re.compile(r"[,. :;\n]")
_SPECIAL = (r"\[ \boxed{", r"} \]", "</s>", "<CONCLUSION>", "</CONCLUSION>")


class CoreCognition(MultipleChoice):
    """The question holds its options. The answers yes and no are kept as Y and N."""

    about = About(
        name="corecognition",
        title="CoreCognition",
        paper="https://github.com/williamium3000/core-knowledge",
        licence="see the data card",
        items=1503,
        repeats=4,
        family="boxed-letter-or-yes-no",
        metric="right of all items",
        files=(DataFile("CoreCognition.tsv", "https://huggingface.co/datasets/ZTWHHH/CoreCognition", "1 GB"),),
        notes=("Where the authors' templates read nothing, they ask a judge; here such a response is unparsable.",),
    )
    columns = Columns(options="", category="l2-category")

    def options(self, record: Record) -> list[str]:
        return ["Yes", "No"] if record.get("question_type") == "YORN" else [""] * 6

    def answer(self, record: Record) -> Any:
        return str(record["answer"]).strip().title() if record.get("question_type") == "YORN" else record["answer"]

    def question(self, record: Record, options: Sequence[str]) -> str:
        return str(record["question"])

    def item(self, record: Record, number: int, path: Path, images: Sequence[bytes | Path]) -> Item:
        item = super().item(record, number, path, images)
        return replace(item, answer="YN"["AB".index(item.answer)]) if item.fields["yes_no"] else item

    def fields(self, record: Record) -> Mapping[str, Any]:
        return {"yes_no": record.get("question_type") == "YORN"}

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if rule == "official":
            return score_reading(item, read_templates(response, item.fields["yes_no"]), rule)
        reading = read_yes_no(response) if item.fields["yes_no"] else read_option(response, item.fields["options"])
        return score_reading(item, reading)


def read_templates(response: str, yes_no: bool) -> Reading:
    """The authors' templates: the first that gives an option counts."""
    for mark in (">\n\n", "**\n\n"):
        response = response.rpartition(mark)[2]
    for special in _SPECIAL:
        response = response.replace(special, "")
    response = response.strip()
    options = ("YES", "NO") if yes_no else tuple("ABCDEF")
    if len(response.split()) >= 2:
        matches = (template.search(response) for template in _TEMPLATES)
        words = [match[1].upper() for match in matches if match]
    else:
        words = [_SEPARATOR.split(response, maxsplit=1)[0].upper()]
    word = next((word for word in words if word in options), None)
    return Reading(word[0], "template") if word else Reading(None, "no template: the official code asks a judge")


BENCHMARK = CoreCognition()
