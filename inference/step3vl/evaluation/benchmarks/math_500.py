"""MATH-500: 500 problems of the MATH test set."""

from collections.abc import Iterator
from pathlib import Path

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.files import read_records, require_fields
from step3vl.evaluation.item import Item, Recorded
from step3vl.evaluation.math_problems import MathProblems
from step3vl.evaluation.records import RecordedRun


class Math500(MathProblems):
    """Not in the report; recorded outputs of Qwen2.5-Math check the equality of expressions."""

    about = About(
        name="math-500",
        title="MATH-500",
        paper="https://arxiv.org/abs/2305.20050",
        licence="MIT",
        items=500,
        repeats=4,
        family="boxed",
        metric="accuracy",
        files=(DataFile("test.jsonl", "https://huggingface.co/datasets/HuggingFaceH4/MATH-500", "0.4 MB"),),
        modality="text",
    )
    category = "subject"

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """Qwen2.5-Math's layout: idx, gt, and of each response its text in code, its answer in pred and its score."""
        for row in read_records(path):
            require_fields(row, ("idx", "gt", "code", "pred", "score"), path)
            responses = zip(row["code"], row["pred"], row["score"], strict=True)
            for repeat, (text, prediction, score) in enumerate(responses):
                item = Item(str(row["idx"]), (), row["gt"], fields={"prediction": prediction})
                yield item, Recorded(item.id, text, score, repeat=repeat)


BENCHMARK = Math500()

RECORDS = (
    RecordedRun(
        "MATH-equality-Qwen2.5-Math",
        "math_cot_100.jsonl.gz",
        {"correct": 728, "accuracy": 91.0, "majority": 93.0},
        "the answers that the authors extracted, compared by our math_equal",
    ),
)
