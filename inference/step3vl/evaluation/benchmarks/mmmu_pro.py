"""MMMU-Pro: MMMU's questions with ten options, and the same as screenshots."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from step3vl.data.sample import Message
from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.extraction.letters import Reading, read_mmmu_pro
from step3vl.evaluation.files import read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Recorded, Scored, mean_percent
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record, listed
from step3vl.evaluation.prompts import ask, interleaved_message, user_message
from step3vl.evaluation.records import RecordedRun

STANDARD, VISION = "standard (10 options)", "vision"


class MMMUPro(MultipleChoice):
    """Two settings of the same questions; the score is their mean."""

    about = About(
        name="mmmu-pro",
        title="MMMU-Pro",
        paper="https://github.com/MMMU-Benchmark/MMMU",
        licence="Apache-2.0",
        items=3460,
        repeats=4,
        family="final-option",
        metric="mean of the accuracies in the settings standard (10 options) and vision",
        files=(
            DataFile(f"{STANDARD}/test-*.parquet", "https://huggingface.co/datasets/MMMU/MMMU_Pro", "1.2 GB"),
            DataFile(f"{VISION}/test-*.parquet", "https://huggingface.co/datasets/MMMU/MMMU_Pro", "2.3 GB"),
        ),
        notes=(
            "The official parser picks a random option, without a seed, where it reads none; here such a response is "
            "unparsable.",
            "The official main loop never reads files named 'standard(10 options)'; its parser is applied here.",
            "In the setting vision, the question and its options are in the image.",
        ),
    )
    columns = Columns(
        id="id",
        options="options",
        images=("image", *(f"image_{number}" for number in range(1, 8))),
        category="subject",
    )

    def read_official(self, response: str, options: Sequence[str]) -> Reading:
        return read_mmmu_pro(response, options)

    def item(self, record: Record, number: int, path: Path, images: Sequence[bytes | Path]) -> Item:
        setting = VISION if "question" not in record else STANDARD
        record = {"question": "Answer the multiple-choice question in the image.", **record, "setting": setting}
        item = super().item(record, number, path, images)
        # Both settings have the same ids.
        return replace(item, id=f"{setting}/{item.id}", group=item.id)

    def messages(self, record: Record, options: Sequence[str], images: int) -> tuple[Message, ...]:
        if record["setting"] == VISION:
            return (user_message(ask(self.about.family, record["question"]), images),)
        return (interleaved_message(ask(self.about.family, self.question(record, options)), images),)

    def fields(self, record: Record) -> Mapping[str, Any]:
        return {"setting": record["setting"]}

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        settings = dict.fromkeys(each.item.fields["setting"] for each in scored)
        values = {
            name: mean_percent([each for each in scored if each.item.fields["setting"] == name]) for name in settings
        }
        accuracy = sum(values.values()) / len(values) if values else 0.0
        return Metrics("accuracy", {"accuracy": accuracy, **values}, metrics.counts, metrics.categories)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """JSON lines of id, options, answer and response, with `if_right` where it was scored; one file a setting."""
        name = path.name.lower()
        setting = "vision" if "vision" in name else "standard (4 options)" if "4opt" in name else STANDARD
        for row in read_records(path):
            require_fields(row, ("id", "options", "answer", "response"), path)
            options = [str(option) for option in listed(row["options"])]
            response = row["response"] if isinstance(row["response"], str) else ""  # an error of the API is an object
            item = Item(
                f"{setting}/{row['id']}", (), row["answer"], group=row["id"], category=str(row.get("subject") or ""),
                fields={"options": options, "setting": setting},
            )  # fmt: skip
            yield item, Recorded(item.id, response, row.get("if_right"))


BENCHMARK = MMMUPro()


def _run(file: str, correct: int, unparsable: int, recorded: int) -> RecordedRun:
    note = f"{recorded} with the random choices" if recorded != correct else ""
    published = {"accuracy": 100 * correct / 1730, "correct": correct, "unparsable": unparsable}
    return RecordedRun("MMMU-Pro", f"{file}.jsonl.gz", published, note)


RECORDS = (
    _run("gpt-4o_standard10_cot", 952, 0, 952),
    _run("gpt-4o_standard10_direct", 694, 7, 694),
    _run("gpt-4o_vision_cot", 866, 3, 866),
    _run("gpt-4o_vision_direct", 725, 48, 734),
    _run("temp_output/InternVL2-8B_direct_Standard10opts", 560, 0, 560),
    _run("temp_output/InternVL2-8B_direct_Standard4opts", 747, 0, 747),
    _run("temp_output/InternVL2-8B_direct_Vision", 336, 23, 337),
    _run("temp_output/gpt-4o-2024-08-06_direct_Standard10opts", 695, 6, 698),
    _run("temp_output/gpt-4o-2024-08-06_direct_Standard4opts", 902, 2, 902),
    _run("temp_output/llava-onevision-qwen2-7b-vo-hf_direct_Vision", 275, 2, 275),
    _run("temp_output/gemini-1.5-pro-exp-0801_direct_Vision", 702, 15, 702),
)
