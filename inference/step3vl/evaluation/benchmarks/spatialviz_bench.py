"""SpatialViz-Bench: mental rotation, folding, penetration and animation, with generated figures."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.extraction.letters import Reading
from step3vl.evaluation.files import image_bytes
from step3vl.evaluation.item import Item
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record
from step3vl.evaluation.prompts import options_text

_INSTRUCTION = (
    "You should first provide a reasoning process, then provide a single option (A, B, C or D) as the final answer. "
    "The reasoning process and the answer are enclosed within <think></think> and <answer></answer> tags, "
    "respectively, i.e., <think>reasoning process</think>, <answer>answer</answer>."
)
_PHRASES = (
    "<answer>", "Answer:", "Final answer", "final answer", "Final Answer", "the answer is", "The answer is",
    "correct answer", "Correct answer", "Correct Answer", "答案", "correct path",
)  # fmt: skip


def read_spatialviz(response: str, options: Sequence[str]) -> Reading:
    """The authors' rule: the only letter before the first full stop of the answer tag, or after the first phrase."""
    start = response.find("<answer>")
    end = response.find("</answer>", start)
    if 0 <= start < end:
        text, trace = response[start + len("<answer>") : end], "answer tag"
    elif len(response) == 1:
        text, trace = response, "the letter alone"
    else:
        phrase = next((phrase for phrase in _PHRASES if phrase in response), None)
        if phrase is None:
            return Reading(None, "no answer tag or phrase")
        text, trace = response.rpartition(phrase)[2].strip(), f"after '{phrase}'"
    letters = set(re.findall(r"[A-D]", text.partition(".")[0]))
    return Reading(letters.pop(), trace) if len(letters) == 1 else Reading(None, "no letter, or several")


class SpatialVizBench(MultipleChoice):
    """Figures are named by category, task, level and number."""

    about = About(
        name="spatialviz-bench",
        title="SpatialViz-Bench",
        paper="https://github.com/wangst0181/Spatial-Visualization-Benchmark",
        licence="MIT",
        items=1180,
        repeats=4,
        family="official",
        metric="right of 1180",
        files=(
            DataFile(
                "**/*.parquet", "https://huggingface.co/datasets/PLM-Team/Spatial-Visualization-Benchmark", "1 MB"
            ),
            DataFile("images/*/*/*/*.png", "SpatialViz_Bench_images.zip of the same", "60 MB", optional=True),
        ),
        notes=(
            "The prompt asks for reasoning in <think> tags, which are removed before a response is read; only the "
            "answer tag is looked for.",
        ),
    )
    columns = Columns(
        id="Image_id", question="Question", options="Choices", answer="Answer", images=(), category="Category"
    )

    def read_official(self, response: str, options: Sequence[str]) -> Reading:
        return read_spatialviz(response, options)

    def item(self, record: Record, number: int, path: Path, images: Sequence[bytes | Path]) -> Item:
        item = super().item(record, number, path, images)
        return replace(item, id="/".join(str(record[name]) for name in ("Category", "Task", "Level", "Image_id")))

    def question(self, record: Record, options: Sequence[str]) -> str:
        return f"{_INSTRUCTION}\nQuestion: {record['Question']}\n{options_text(options)}"

    def image_values(self, record: Record, data: Path) -> list[bytes | Path]:
        name = f"{record['Category']}/{record['Task']}/{record['Level']}/{record['Image_id']}.png"
        return [image_bytes(name, data / "images")]


BENCHMARK = SpatialVizBench()
