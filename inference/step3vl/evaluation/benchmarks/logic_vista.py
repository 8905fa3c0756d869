"""LogicVista: 448 questions of logic in images; a set of letters, which must be complete."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.extraction.letters import read_option
from step3vl.evaluation.files import find, image_bytes, read_json, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored
from step3vl.evaluation.prompts import ask, user_message
from step3vl.evaluation.records import RecordedRun
from step3vl.grading import marked_answer
from step3vl.grading.extraction import phrased_answer

_LETTERS = "ABCDEFGH"
_NONE = "zzzzz"  # what GPT-4 had to write where it saw no letter
_LETTER_LIST = re.compile(r"[\s(\[*]*([A-Ha-h])(?:\)?[\s,;&/]*(?:(?:and|or)\s+)?\(?([A-Ha-h]))*[\s)\]*.]*")
_SINGLE = re.compile(r"\b[A-Ha-h]\b")


class LogicVista(Benchmark):
    """Officially GPT-4 extracts the letters; what it extracted is recorded, and compared as a sorted list."""

    about = About(
        name="logic-vista",
        title="LogicVista",
        paper="https://github.com/Yijia-Xiao/LogicVista",
        licence="Apache-2.0",
        items=447,
        repeats=4,
        family="final-option",
        metric="accuracy: exactly the letters of the answer",
        files=(
            DataFile("dataset.json", "https://github.com/Yijia-Xiao/LogicVista, data/dataset.json", "0.4 MB"),
            DataFile("images/*.png", "https://github.com/Yijia-Xiao/LogicVista, data/images", "25 MB", optional=True),
        ),
        notes=(
            "One of the 448 official questions has no answer; as in the paper, 447 are asked.",
            "VLMEvalKit needs a judge for the extraction; here the response's own mark is read.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, "dataset.json", self.about)
        records = read_json(path)
        if not isinstance(records, dict):
            raise UserError(f"{path}: not an object of questions by their ids")
        for id_, record in records.items():
            require_fields(record, ("imagename", "question", "answer", "skill"), path)
            letters = _answer_letters(record["answer"])
            if not letters:
                continue
            yield Item(
                id=id_,
                messages=(user_message(ask("final-option", record["question"]), images=1),),
                answer=letters,
                images=(image_bytes(record["imagename"], data / "images"),) if images else (),
                category=", ".join(record["skill"]),
                fields={"skills": list(record["skill"])},
            )

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        extracted = item.fields.get("extracted")
        if extracted is not None:
            letters, trace = sorted(set(extracted) - {_NONE}), "recorded extraction"
        else:
            letters, trace = read_letters(response, several=len(item.answer) > 1)
        if not letters:
            return Score.unparsable(trace)
        return Score.of(letters == item.answer, ", ".join(letters), trace)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """The mean, and by reasoning skill."""
        metrics = super().summarise(scored)
        skills: dict[str, list[float]] = defaultdict(list)
        for each in scored:
            for skill in each.item.fields["skills"]:
                skills[skill].append(each.score.value)
        counts = dict(metrics.counts) | {skill: int(sum(values)) for skill, values in skills.items()}
        by_skill = {skill: 100 * sum(values) / len(values) for skill, values in sorted(skills.items())}
        return Metrics(metrics.headline, metrics.values, counts, by_skill)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """A table of answers: the letters that GPT-4 extracted in `… answer extracted`, the verdict in `match?`."""
        for record in read_records(path):
            names = {name.split()[-1]: name for name in record if name.endswith(("answer extracted", "answer raw"))}
            require_fields(record, ("id", "reasoning skill", "true answer", "match?"), path)
            if "extracted" not in names:
                raise UserError(f"{path}: no column '… answer extracted'; is it a file of eval/results?")
            skills = [skill.strip() for skill in _strings(record["reasoning skill"])]
            answer = sorted(_strings(record["true answer"]))
            item = Item(record["id"], (), answer, category=", ".join(skills), fields={"skills": skills})
            fields = {"extracted": _strings(record[names["extracted"]])}
            yield item, Recorded(record["id"], record.get(names.get("raw", ""), ""), int(record["match?"]), fields)


def read_letters(response: str, several: bool) -> tuple[list[str], str]:
    """The letters that a response gives as its answer, sorted and lower case; none where they are not clear.

    Args:
        response: The response.
        several: Whether the question has more than one right letter. Where it has one, a single letter counts that is
            named anywhere by the common rule; a response that marks several is wrong all the same.
    """
    for place, text in (
        ("marked as final", marked_answer(response)),
        ("after an answer phrase", phrased_answer(response)),
    ):
        line = (text or "").strip().split("\n")[0]
        if line and _LETTER_LIST.fullmatch(line) and (letters := _SINGLE.findall(line)):
            return sorted({letter.lower() for letter in letters}), place
    if several and _LETTER_LIST.fullmatch(response.strip()):
        return sorted({letter.lower() for letter in _SINGLE.findall(response)}), "letters alone"
    letter, trace = read_option(response, [""] * len(_LETTERS))
    return ([letter.lower()] if letter else []), trace


def _answer_letters(answer: str) -> list[str]:
    return sorted(letter.strip().lower() for letter in str(answer).split(",") if letter.strip())


def _strings(cell: str) -> list[str]:
    """A list of texts as Python prints it."""
    try:
        value: Any = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = None
    return [str(part) for part in value] if isinstance(value, list) else []


def _run(name: str, correct: int, skills: tuple[int, int, int, int, int] | None = None) -> RecordedRun:
    names = ("inductive", "deductive", "numerical", "spatial", "mechanical")
    by_skill = dict(zip(names, skills, strict=True)) if skills else {}
    suffix = ".csv" if name in _PLAIN else ".csv.gz"
    published = {"correct": correct, "accuracy": 100 * correct / 448, **by_skill}
    return RecordedRun("LogicVista", f"results/{name}-accuracy-results{suffix}", published)


_PLAIN = ("GPT4", "LLAVA13B", "LLAVANEXT-7B-vicuna", "pix2struct", "deplot", "matcha-base")
RECORDS = (
    _run("GPT4", 146, (24, 51, 23, 17, 31)),
    _run("LLAVA7B", 131, (32, 27, 25, 20, 27)),
    _run("LLAVA13B", 108, (20, 29, 19, 22, 18)),
    _run("LLAVANEXT-7B-vicuna", 106, (18, 32, 22, 17, 17)),
    _run("otter9B", 106, (34, 23, 18, 15, 16)),
    _run("BLIP2", 96, (19, 22, 22, 19, 14)),
    _run("miniGPTvicuna13B", 67, (14, 22, 10, 8, 13)),
    _run("miniGPTvicuna7B", 50, (11, 9, 7, 3, 20)),
    _run("instructBLIP-vicuna-7B", 67, (5, 20, 23, 2, 17)),
    _run("pix2struct", 40, (13, 6, 2, 6, 13)),
    _run("GIT", 19),
    _run("GIT-large", 29),
    _run("matcha-base", 2),
    _run("deplot", 1),
)

BENCHMARK = LogicVista()
