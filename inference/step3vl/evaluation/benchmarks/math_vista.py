"""MathVista: 1,000 questions of testmini; options, integers, decimals and lists."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rapidfuzz.distance import Levenshtein

from step3vl.data.errors import UserError
from step3vl.data.sample import NumberTruth
from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.extraction.letters import read_option
from step3vl.evaluation.extraction.verified import final_part, score_by_truth
from step3vl.evaluation.files import find, image_bytes, read_json, require_fields
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored
from step3vl.evaluation.prompts import options_text, user_message
from step3vl.evaluation.records import RecordedRun
from step3vl.grading import last_number

_HINTS = {
    "text": "Hint: Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end.",
    "integer": (
        "Hint: Please answer the question requiring an integer answer and provide the final value, "
        "e.g., 1, 2, 3, at the end."
    ),
    "float 1": (
        "Hint: Please answer the question requiring a floating-point number with one decimal place and provide the "
        "final value, e.g., 1.2, 1.3, 1.4, at the end."
    ),
    "float 2": (
        "Hint: Please answer the question requiring a floating-point number with two decimal places and provide the "
        "final value, e.g., 1.23, 1.34, 1.45, at the end."
    ),
    "list": (
        "Hint: Please answer the question requiring a Python list as an answer and provide the final list, "
        "e.g., [1, 2, 3], [1.2, 1.3, 1.4], at the end."
    ),
}
_FIELDS = ("question", "image", "choices", "unit", "precision", "answer", "question_type", "answer_type", "metadata")
_CATEGORIES = ("source", "task", "context", "grade", "skills", "category", "language")
_MAX_EXTRACTION = 2**12  # what is compared with the choices; an extraction is a few words
_LETTER_IN_BRACKETS = re.compile(r"\(([a-zA-Z])\)")
_QUOTED = re.compile(r'The answer is "(.*)"\.')
_LIST = re.compile(r"\[([^\[\]]*)\]")


class MathVista(Benchmark):
    """Testmini. Officially GPT-4 extracts a short answer from a response; what it extracted is recorded with it."""

    about = About(
        name="math-vista",
        title="MathVista",
        paper="https://github.com/lupantech/MathVista",
        licence="CC BY-SA 4.0; as a test set only",
        items=1000,
        repeats=4,
        family="official",
        metric="accuracy: the option, or the number in the precision that is asked for",
        files=(
            DataFile("testmini.json", "https://github.com/lupantech/MathVista, data/testmini.json", "0.9 MB"),
            DataFile(
                "images/*.jpg",
                "https://huggingface.co/datasets/AI4Math/MathVista, images.zip",
                "870 MB",
                optional=True,
            ),
        ),
        notes=(
            "Official: an extraction is read by int(x), as the published scores were; the script in the repository "
            "has int(float(x)), whose score is `accuracy_by_current_script`.",
            "Official: an extraction that is no letter counts as the option of the smallest edit distance. "
            "Responses without a recorded extraction are read by the script's own rules, without GPT-4.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, "testmini.json", self.about)
        for pid, record in _problems(path):
            yield _item(pid, record, path, (image_bytes(record["image"], data),) if images else ())

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if rule == "strict":
            return _score_strictly(item, response)
        extraction, trace = item.fields.get("extraction"), "recorded extraction"
        if extraction is None:
            extraction, trace = _extract(item, response)
            if extraction is None:
                return Score.unparsable(trace)
        prediction = normalise_extraction(extraction, item.fields)
        current = normalise_extraction(extraction, item.fields, through_float=True) == item.answer
        return Score.of(prediction == item.answer, prediction, trace, current_script=current)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """The mean, and by source, task, context, grade, skill, category and language."""
        metrics = super().summarise(scored)
        groups: dict[str, list[float]] = defaultdict(list)
        for each in scored:
            for field in _CATEGORIES:
                value = each.item.fields[field]
                for name in value if isinstance(value, list) else [value]:
                    groups[f"{field}: {name}"].append(each.score.value)
        counts, values = dict(metrics.counts), dict(metrics.values)
        if scored and all("current_script" in each.score.details for each in scored):
            current = sum(each.score.details["current_script"] for each in scored)
            counts["correct_by_current_script"] = current
            values["accuracy_by_current_script"] = 100 * current / len(scored)
        by_group = {name: 100 * sum(group) / len(group) for name, group in sorted(groups.items())}
        return Metrics(metrics.headline, values, counts, by_group)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """An object of problems by their pid, each with `response`, GPT-4's `extraction` and `true_false`."""
        for pid, record in _problems(path):
            require_fields(record, ("response",), path)
            fields = {"extraction": record["extraction"]} if "extraction" in record else {}
            response = Recorded(pid, str(record["response"]), record.get("true_false"), fields)
            yield _item(pid, record, path, ()), response


def normalise_extraction(extraction: Any, fields: Mapping[str, Any], through_float: bool = False) -> str | None:
    """What the official script compares with the answer as a text; None where it is no number.

    Args:
        extraction: The short answer that was extracted from a response.
        fields: Of the item: choices, answer type and precision.
        through_float: Whether `5.0` is an integer, as in the script of the repository.
    """
    if fields["choices"]:
        text = str(extraction).strip()
        letter = _LETTER_IN_BRACKETS.search(text)
        text = letter[1].upper() if letter else text
        choices = fields["choices"]
        if len(text) == 1 and 0 <= ord(text) - ord("A") < len(choices):
            return choices[ord(text) - ord("A")]
        text = text[:_MAX_EXTRACTION]
        return min(choices, key=lambda choice: Levenshtein.distance(text, choice))
    try:
        if fields["answer_type"] == "integer":
            return str(int(float(extraction) if through_float else extraction))
        if fields["answer_type"] == "float":
            return str(round(float(extraction), int(fields["precision"])))
    except (ValueError, OverflowError):
        return None
    return str(extraction)


def _extract(item: Item, response: str) -> tuple[str | None, str]:
    """The rules by which the official script spares itself a call of GPT-4."""
    if response in (item.fields["choices"] or ()):
        return response, "the response is a choice"
    convert = {"integer": int, "float": float}.get(item.fields["answer_type"])
    if convert is not None:
        try:
            return str(convert(response)), "the response is a number"
        except (ValueError, OverflowError):
            pass
    quoted = _QUOTED.search(response)
    return (quoted[1], "after 'The answer is'") if quoted else (None, "the official code asks GPT-4")


def _score_strictly(item: Item, response: str) -> Score:
    fields = item.fields
    if fields["choices"]:
        letter, trace = read_option(response, fields["choices"])
        if letter is None:
            return Score.unparsable(trace)
        return Score.of(fields["choices"][ord(letter) - ord("A")] == item.answer, letter, trace)
    if fields["answer_type"] == "list":
        numbers, expected = _last_list(response), _last_list(item.answer)
        return (
            Score.unparsable("no list of numbers") if numbers is None else Score.of(numbers == expected, str(numbers))
        )
    if fields["answer_type"] == "integer":
        return score_by_truth(NumberTruth(value=float(item.answer)), response)
    value, (_, place) = last_number(response), final_part(response)
    if value is None:
        return Score.unparsable("no number")
    precision = int(fields["precision"])
    return Score.of(round(value, precision) == round(float(item.answer), precision), str(value), place)


def _last_list(text: str) -> list[float] | None:
    """The numbers of the last `[…]` of a text; None where it has none, or something else is in it."""
    lists = _LIST.findall(text)
    try:
        return [float(part) for part in lists[-1].split(",")] if lists else None
    except ValueError:
        return None


def _problems(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    problems = read_json(path)
    if not isinstance(problems, dict) or not all(isinstance(record, dict) for record in problems.values()):
        raise UserError(f"{path}: not an object of problems by pid, as MathVista publishes them")
    yield from problems.items()


def _item(pid: str, record: Mapping[str, Any], path: Path, images: tuple[bytes | Path, ...]) -> Item:
    require_fields(record, _FIELDS, path)
    kind = record["answer_type"]
    hint = _HINTS.get(f"{kind} {record['precision']:g}" if kind == "float" else kind)
    if hint is None:
        raise UserError(f"{path}: {pid}: answer_type '{kind}' with precision {record['precision']} is not known")
    unit = f" (Unit: {record['unit']})" if record["unit"] else ""
    lines = [hint, f"Question: {record['question']}{unit}"]
    if record["choices"]:
        lines += ["Choices:", options_text(record["choices"], "({letter}) {option}")]
    metadata = {name: record["metadata"][name] for name in _CATEGORIES}
    return Item(
        id=str(pid),
        messages=(user_message("\n".join(lines), images=1),),
        answer=record["answer"],
        images=images,
        category=record["metadata"]["task"],
        fields={
            "choices": list(record["choices"] or ()),
            "answer_type": kind,
            "precision": record["precision"],
            **metadata,
        },
    )


def _run(name: str, correct: int, current: int, note: str = "") -> RecordedRun:
    published = {"correct": correct, "accuracy": correct / 10, "correct_by_current_script": current}
    return RecordedRun("MathVista", f"output_{name}.json.gz", published, note)


_DIFFERENT = "The published score follows int(x); the script of the repository counts more."
RECORDS = (
    _run("bard", 348, 348),
    _run("llava_llama_2_13b", 261, 261),
    _run("gpt4_2shot_solution", 292, 292),
    _run("gpt4_2shot_code", 260, 270, _DIFFERENT),
    _run("idefics_9b_instruct", 198, 200, _DIFFERENT),
    _run("minigpt4_llama2", 231, 231),
    _run("chatgpt_2shot_solution_use_ocr", 283, 286, _DIFFERENT),
    _run("claude_2shot_solution", 244, 244),
    RecordedRun(
        "MathVista",
        "output_llavar.json.gz",
        {"correct_by_current_script": 252, "accuracy_by_current_script": 25.2},
        "The only run whose published score follows int(float(x)): two items differ.",
    ),
    _run("random_guess", 179, 179),
    _run("frequent_guess", 263, 263),
)

BENCHMARK = MathVista()
