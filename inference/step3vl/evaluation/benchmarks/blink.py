"""BLINK, validation: fourteen tasks of perception, with the mean over tasks."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmark import About, DataFile, Rule
from step3vl.evaluation.extraction.letters import Reading
from step3vl.evaluation.files import read_json, require_fields
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record, score_reading
from step3vl.evaluation.recorded_runs import find_near
from step3vl.evaluation.records import RecordedRun


class BLINK(MultipleChoice):
    """Questions on one to four images; the prompt holds the options."""

    about = About(
        name="blink",
        title="BLINK",
        paper="https://github.com/zeyofu/BLINK_Benchmark",
        licence="Apache-2.0",
        items=1901,
        repeats=4,
        family="final-option",
        metric="mean over the fourteen tasks",
        files=(DataFile("*/val-*.parquet", "https://huggingface.co/datasets/BLINK-Benchmark/BLINK", "350 MB"),),
        notes=(
            "The authors extract letters by a model (gpt-3.5-turbo) and record them; the official rule scores those, "
            "and the strict one reads the responses.",
            "VLMEvalKit prints the accuracy over items (`micro`), the authors the mean over tasks.",
        ),
    )
    columns = Columns(id="idx", question="prompt", options="choices", images=tuple(f"image_{n}" for n in range(1, 5)))

    def item(self, record: Record, number: int, path: Path, images: Sequence[bytes | Path]) -> Item:
        item = super().item(record, number, path, images)
        return replace(item, category=_task(item.id))

    def question(self, record: Record, options: Sequence[str]) -> str:
        return str(record["prompt"])

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if rule == "strict":
            return super().score(item, response, rule)
        return score_reading(item, _read_extraction(str(item.fields.get("extraction", response))), rule)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        tasks = metrics.categories.values()
        values = {"accuracy": sum(tasks) / len(tasks) if tasks else 0.0, "micro": metrics.values["accuracy"]}
        return Metrics("accuracy", values, metrics.counts, metrics.categories)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """The layouts of the repository.

        - Outputs: tasks with rows of idx, answer, full_prediction and prediction, the extracted letter.
        - Letters: an object from idx to the extracted letter; the answers are read from `val_answers.json` beside it.
        """
        outputs = read_json(path)
        if not isinstance(outputs, dict) or not outputs:
            raise UserError(f"{path}: neither tasks with rows nor an object from idx to letters")
        if isinstance(next(iter(outputs.values())), str):
            for id, answer in read_json(find_near(path, "val_answers.json")).items():  # a missing letter is wrong
                letter = outputs.get(id, "")
                yield _recorded_item(id, answer), Recorded(id, letter, fields={"extraction": letter})
            return
        for row in (row for rows in outputs.values() for row in rows):
            require_fields(row, ("idx", "answer", "full_prediction", "prediction"), path)
            fields = {"extraction": row["prediction"]}
            recorded = Recorded(row["idx"], str(row["full_prediction"]), fields=fields)
            yield _recorded_item(row["idx"], row["answer"]), recorded


def _recorded_item(id: str, answer: str) -> Item:
    return Item(id, (), answer.strip("()"), category=_task(id), fields={"options": [""] * 4})


_LETTER = re.compile(r"\(([A-Y])\)")


def _read_extraction(text: str) -> Reading:
    """What the authors' model extracted: `(A)`; `(Z)` is none of the options, and all else no answer."""
    match = _LETTER.fullmatch(text)
    return Reading(match[1], "extracted by the authors' model") if match else Reading(None, "no extracted letter")


def _task(id: str) -> str:
    """`val_Art_Style_1` is of Art_Style."""
    return id.removeprefix("val_").rpartition("_")[0]


BENCHMARK = BLINK()


def _run(file: str, mean: float, correct: int, printed: float) -> RecordedRun:
    note = "" if round(mean, 1) == printed else f"the README prints {printed}"
    return RecordedRun("BLINK", f"{file}.json.gz", {"accuracy": mean, "correct": correct}, note)


RECORDS = (
    _run("GPT4o.val_outputs", 60.04112435335907, 1139, 60.0),
    _run("GPT4Turbo.val_outputs", 54.60905138562468, 1032, 54.6),
    _run("GPT4V.val_outputs", 51.1440110473492, 959, 51.1),
    _run("GeminiProVision.val_outputs", 45.15810371146262, 856, 45.2),
    _run("QwenVLMax.val_outputs", 40.275663245378766, 751, 40.3),
    _run("Yi_VL_34B.val_outputs", 41.68360244578038, 784, 41.7),
    _run("llava-v1.6-34b.val_outputs", 46.797566380866805, 878, 46.8),
    _run("OPUS.val_outputs", 44.0462976760431, 825, 44.1),
    _run("saved_val_predictions/GPT4o", 60.04112435335907, 1139, 60.0),
    _run("saved_val_predictions/GPT4Turbo", 54.60905138562468, 1032, 54.6),
    _run("saved_val_predictions/GPT4V", 51.089065992404144, 958, 51.1),
    _run("saved_val_predictions/GeminiProVision", 45.15810371146262, 856, 45.2),
    _run("saved_val_predictions/QwenVLMax", 40.275663245378766, 751, 40.3),
    _run("saved_val_predictions/llava-v1.5-13b-xtuner", 41.997936598241616, 792, 42.0),
    _run("saved_val_predictions/Yi_VL_6B", 38.71936283681226, 728, 38.7),
    _run("saved_val_predictions/llava-v1.5-7b-xtuner", 39.358516563900665, 743, 39.4),
    _run("saved_val_predictions/llava_v1.5_13b", 42.66263626151673, 805, 42.7),
    _run("saved_val_predictions/instructblip_7b", 39.715434508512566, 750, 39.7),
    _run("saved_val_predictions/flamingov2", 39.1764517422005, 734, 39.2),
    _run("saved_val_predictions/llava_v1.5_7b", 37.12744612837346, 691, 37.1),
    _run("saved_val_predictions/llava-internlm2-7b", 37.71014073139342, 709, 37.7),
    _run("saved_val_predictions/MiniGPT-4-v2", 34.230296727046905, 645, 34.2),
    _run("saved_val_predictions/Yi_VL_34B", 41.68360244578038, 784, 41.7),
    _run("saved_val_predictions/llava-v1.6-34b", 46.797566380866805, 878, 46.8),
    _run("saved_val_predictions/OPUS", 44.0462976760431, 825, 44.1),
    _run("saved_val_predictions/instructblip_13b", 42.23841274708227, 797, 42.2),
    _run("saved_val_predictions/cogvlm-chat", 41.540198769347604, 784, 41.5),
)
