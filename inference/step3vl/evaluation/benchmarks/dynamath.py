"""DynaMath: 501 seed questions in ten variants each; the score is how many seeds are right in all of them."""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from step3vl.data.errors import UserError
from step3vl.data.sample import NumberTruth, TextTruth
from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.extraction.letters import read_option
from step3vl.evaluation.extraction.verified import final_part, score_by_truth
from step3vl.evaluation.files import find_all, image_bytes, read_json, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored
from step3vl.evaluation.multiple_choice import score_reading
from step3vl.evaluation.prompts import ask, user_message
from step3vl.evaluation.records import RecordedRun

VARIANTS = 10
_TOLERANCE = 0.001
_FAMILIES = {"multiple choice": "final-option", "float": "boxed-decimals", "text": "boxed"}


class DynaMath(Benchmark):
    """All variants. The paper reports the worst case: the share of seeds whose variants are all right."""

    about = About(
        name="dynamath",
        title="DynaMath",
        paper="https://github.com/DynaMath/DynaMath",
        licence="MIT (badge of the README)",
        items=501 * VARIANTS,
        repeats=4,
        family="final-option and boxed",
        metric="worst case: seeds with all ten variants right",
        files=(
            DataFile(
                "trial*/dataset.json", "https://github.com/DynaMath/DynaMath, samples and result/10trials", "1.6 MB"
            ),
            DataFile(
                "trial*/image/*.png",
                "https://github.com/DynaMath/DynaMath, samples and result/10trials",
                "200 MB",
                True,
            ),
        ),
        notes=(
            "VLMEvalKit prints the average first; the headline here is the worst case.",
            "With several responses to an item, each repeat has its own worst case, and the mean of them counts.",
            "The authors publish verdicts without the responses; of those the aggregation alone can be checked.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        paths = find_all(data, "trial*/dataset.json", self.about)
        for path in sorted(paths, key=lambda path: int("".join(filter(str.isdigit, path.parent.name)) or 0)):
            variant = "".join(filter(str.isdigit, path.parent.name))
            for seed, record in read_json(path).items():
                require_fields(record, ("question", "answer", "answer_type", "image", "subject", "level"), path)
                kind = record["answer_type"]
                if kind not in _FAMILIES:
                    raise UserError(f"{path}: {seed}: answer_type '{kind}' is none of {', '.join(_FAMILIES)}")
                yield Item(
                    id=f"Q{seed}-{variant}",
                    messages=(user_message(ask(_FAMILIES[kind], record["question"]), images=1),),
                    answer=str(record["answer"]),
                    images=(image_bytes(record["image"], path.parent),) if images else (),
                    group=f"Q{seed}",
                    category=record["subject"],
                    fields={"answer_type": kind, "level": record["level"]},
                )

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if "verdict" in item.fields:
            return Score.of(item.fields["verdict"] == "correct", None, "recorded verdict")
        return _score_officially(item, response) if rule == "official" else _score_strictly(item, response)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """The worst case, and the average over all responses."""
        worst: dict[tuple[str, int], float] = defaultdict(lambda: 1.0)
        subjects: dict[str, dict[tuple[str, int], float]] = defaultdict(dict)
        for each in scored:
            key = (each.item.group, each.repeat)
            worst[key] = min(worst[key], float(each.score.verdict == "correct"))
            subjects[each.item.category][key] = worst[key]
        metrics = super().summarise(scored)
        return Metrics(
            "worst case",
            {"worst case": _percent(worst), "average": metrics.value},
            {**metrics.counts, "correct seeds": int(sum(worst.values())), "seeds": len(worst)},
            {subject: _percent(values) for subject, values in sorted(subjects.items())},
        )

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """A table of verdicts: a row for each seed with `Variant 1` to `Variant 10`, and rows of sums below."""
        for record in read_records(path):
            seed = record.get("Question ID") or ""
            if not seed.startswith("Q"):
                continue
            names = [f"Variant {variant}" for variant in range(1, VARIANTS + 1)]
            require_fields(record, (*names, "Topic"), path)
            for variant, name in enumerate(names, 1):
                id_ = f"{seed}-{variant}"
                item = Item(id_, (), None, group=seed, category=record["Topic"])
                correct = record[name].strip() == "correct"
                yield item, Recorded(id_, "", correct, {"verdict": record[name].strip()})


def _percent(values: dict[tuple[str, int], float]) -> float:
    return 100 * sum(values.values()) / len(values) if values else 0.0


def _score_strictly(item: Item, response: str) -> Score:
    if item.fields["answer_type"] == "multiple choice":
        return score_reading(item, read_option(response, [""] * 8))
    if item.fields["answer_type"] == "float":
        return score_by_truth(NumberTruth(value=float(item.answer), tolerance=_TOLERANCE), response)
    answer, place = final_part(response)
    score = score_by_truth(TextTruth(text=item.answer), answer)
    return Score(score.value, score.verdict, answer, (place, *score.trace))


def _score_officially(item: Item, response: str) -> Score:
    answer, trace = _short_answer(response)
    if item.fields["answer_type"] == "float":
        value = _official_number(answer)
        if value is None:
            return Score.unparsable(trace, "not a number")
        return Score.of(abs(value - float(item.answer)) <= _TOLERANCE, answer, trace)
    if item.fields["answer_type"] == "multiple choice":
        return Score.of(answer == item.answer if len(answer) == 1 else item.answer in answer[:3], answer, trace)
    return Score.of(item.answer in answer, answer, trace)


def _short_answer(response: str) -> tuple[str, str]:
    """The field of the JSON object that the official prompt asks for; else the last line but its last character."""
    start, end = response.find("{"), response.rfind("}") + 1
    text = response[start:end].replace("\\", "") if 0 <= start < end else response
    try:
        value: Any = json.loads(text, strict=False)
        return str(value.get("short answer")), "'short answer' of the JSON"
    except (ValueError, AttributeError, RecursionError):
        return text.split("\n")[-1][:-1], "the last line"


def _official_number(answer: str) -> float | None:
    """Its first word as a number; what stands before a π is multiplied by it."""
    digits, pi, _ = answer.split(" ")[0].partition("\u03c0")
    try:
        value = float(digits) * (math.pi if pi else 1.0)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _run(name: str, correct: int, seeds: int) -> RecordedRun:
    published = {"correct": correct, "average": 100 * correct / 5010, "worst case": 100 * seeds / 501}
    return RecordedRun("DynaMath", f"{name}-result.csv.gz", {**published, "correct seeds": seeds})


RECORDS = (
    _run("GPT4o", 3173, 174),
    _run("claude3.5", 3248, 179),
    _run("Gemini1.5-Pro", 3026, 136),
    _run("Qwen2-72B", 2761, 143),
    _run("InternVL2-76B", 2686, 123),
    _run("InternVL2-8b", 1971, 52),
    _run("InternVL2-26b", 2055, 72),
    _run("InternVL2-40B", 2097, 71),
    _run("Qwen2-7B", 2111, 69),
    _run("llama-3.2-90B", 2219, 65),
    _run("llava1.6-34B", 1362, 30),
    _run("llava1.6-vicuna-13B", 984, 14),
    _run("llava1.5-7B", 821, 9),
    _run("deepseek7B", 1083, 21),
)

BENCHMARK = DynaMath()
