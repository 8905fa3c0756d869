"""LiveBench, release 2024-11-25: questions of six categories with objective answers."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.files import find, find_all, read_records, require_fields
from step3vl.evaluation.instructions import follow
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored, mean_percent
from step3vl.evaluation.livebench.coding import score_code
from step3vl.evaluation.livebench.tasks import CODING, score_answer
from step3vl.evaluation.prompts import user_message
from step3vl.evaluation.records import RecordedRun

RELEASE = "2024-11-25"
_SOURCE = "https://huggingface.co/livebench"
_INSTRUCTIONS = "instruction_following"
_TEST_FIELDS = ("original_json", "public_test_cases", "private_test_cases", "partial_solution")
_FIELDS = ("task", "subtask", "instruction_id_list", "kwargs", *_TEST_FIELDS)
"""Of a record, what its rule needs beside the answer."""


class LiveBench(Benchmark):
    """The score is the mean of categories, a category the mean of its tasks."""

    about = About(
        name="livebench",
        title="LiveBench (2024-11-25)",
        paper="https://arxiv.org/abs/2406.19314",
        licence="Apache-2.0",
        items=1000,
        repeats=1,
        family="official",
        metric="mean over categories of the mean over their tasks",
        files=(DataFile("**/*question.jsonl", f"{_SOURCE} (download_questions.py of the repository)", "60 MB"),),
        modality="text",
        executes=True,
        notes=(
            "Questions count that were released by 2024-11-25 and not removed by then.",
            "Expressions are compared by this project's parser; the official code also asks a model where sympy finds "
            "no equality and a key of its API is set.",
            "Tables are read without pandas, cell by cell.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        for path in find_all(data, self.about.files[0].name, self.about):
            for record in read_records(path):
                if _in_release(record):
                    yield self._item(record, path)

    def _item(self, record: Mapping[str, Any], path: Path) -> Item:
        require_fields(record, ("question_id", "category", "task", "turns"), path)
        fields = {name: record[name] for name in _FIELDS if record.get(name) is not None}
        fields |= {"released": str(record.get("livebench_release_date") or "")[:10], "question": record["turns"][0]}
        message = user_message(record["turns"][0])
        answer = record.get("ground_truth")
        return Item(record["question_id"], (message,), answer, category=record["category"], fields=fields)

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        fields = item.fields
        task = fields["task"]
        if item.category == _INSTRUCTIONS:
            followed = follow(response, fields["instruction_id_list"], fields["kwargs"]).strict
            return _graded((all(followed) + sum(followed) / len(followed)) / 2, task)
        if task in CODING:
            return score_code(fields, response)
        question, subtask = fields["question"], str(fields.get("subtask") or "")
        value = score_answer(task, subtask, question, item.answer, fields["released"], response)
        return Score.unparsable(f"no rule for the task {task}") if value is None else _graded(value, task)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        tasks: dict[tuple[str, str], list[Scored]] = defaultdict(list)
        for each in scored:
            tasks[each.item.category, each.item.fields["task"]].append(each)
        values = {f"{task}_sum": sum(each.score.value for each in group) for (_, task), group in sorted(tasks.items())}
        means: dict[str, list[float]] = defaultdict(list)
        for (category, _), group in sorted(tasks.items()):
            means[category].append(mean_percent(group))
        categories = {category: sum(group) / len(group) for category, group in means.items()}
        average = sum(categories.values()) / len(categories) if categories else 0.0
        counts = {"items": len(scored), "unparsable": sum(each.score.verdict == "unparsable" for each in scored)}
        return Metrics("average", {"average": average, **values}, counts, categories)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """Answer files of the repository, with the questions and judgements of their task beside them."""
        questions, judgements = _task_files(path)
        items = {record["question_id"]: self._item(record, questions) for record in read_records(questions)}
        scores: dict[tuple[str, str], float] = {}
        if judgements is not None:
            scores = {(row["question_id"], row["model"]): row["score"] for row in read_records(judgements)}
        for row in read_records(path):
            require_fields(row, ("question_id", "choices", "model_id"), path)
            response = row["choices"][0]["turns"][-1].rpartition("</think>")[2]
            verdict = scores.get((row["question_id"], row["model_id"]))
            if row["question_id"] not in items:
                raise UserError(f"{path}: no question {row['question_id']} in {questions}")
            if verdict is not None or not scores:
                yield items[row["question_id"]], Recorded(row["question_id"], response, verdict)


def _in_release(record: Mapping[str, Any]) -> bool:
    removed = str(record.get("livebench_removal_date") or "")[:10]
    return str(record["livebench_release_date"])[:10] <= RELEASE and (not removed or removed > RELEASE)


def _task_files(path: Path) -> tuple[Path, Path | None]:
    """The questions and the judgements of an answer file's task.

    They are `question.jsonl` and `model_judgment/ground_truth_judgment.jsonl` above it, or share its name up to
    `.answer.`.
    """
    task, is_flat, _ = path.name.partition(".answer.")
    if is_flat:
        folder, question, judgement = path.parent, f"{task}.question.jsonl", f"{task}.judgment.jsonl"
    else:
        folder, question = path.parent.parent, "question.jsonl"
        judgement = "model_judgment/ground_truth_judgment.jsonl"
    judgements = sorted(folder.glob(f"{judgement}*"))
    return find(folder, question), judgements[0] if judgements else None


def _graded(value: float, task: str) -> Score:
    return Score.graded(value, f"{value:.3f}" if 0 < value < 1 else f"{value:g}", task)


BENCHMARK = LiveBench()


def _run(task: str, model: str, total: float, note: str = "") -> RecordedRun:
    name = task.partition("__")[2]
    file = f"{task}.answer.zft-community-8b-{model}.jsonl"
    compressed = file not in _PLAIN
    return RecordedRun("LiveBench", f"{file}.gz" if compressed else file, {f"{name}_sum": total}, note)


_PLAIN = {
    "data_analysis__cta.answer.zft-community-8b-bs4-02.jsonl",
    "data_analysis__cta.answer.zft-community-8b-bs4.jsonl",
    "data_analysis__tablejoin.answer.zft-community-8b-bs4.jsonl",
    "math__olympiad.answer.zft-community-8b-bs4.jsonl",
    "reasoning__spatial.answer.zft-community-8b-bs4.jsonl",
    "reasoning__web_of_lies_v2.answer.zft-community-8b-bs4.jsonl",
}
"""Files of the records that are not compressed."""

_AMPS_NOTE = (
    "a derivative that equals the true one was recorded as wrong, and one of bs4-02 is only found by sympy's parser"
)

RECORDS = (
    _run("data_analysis__cta", "bs4-02", 20),
    _run("data_analysis__cta", "bs4", 21),
    _run("data_analysis__tablejoin", "bs4-02", 4.859999999999999),
    _run("data_analysis__tablejoin", "bs4", 3.8000000000000003),
    _run("data_analysis__tablereformat", "bs4-02", 27),
    _run("data_analysis__tablereformat", "bs4", 33),
    _run("instruction_following__paraphrase", "bs4-02", 20.825000000000003),
    _run("instruction_following__paraphrase", "bs4", 18.683333333333337),
    _run("instruction_following__simplify", "bs4-02", 23.65833333333333),
    _run("instruction_following__simplify", "bs4", 20.991666666666667),
    _run("instruction_following__story_generation", "bs4-02", 23.550000000000004),
    _run("instruction_following__story_generation", "bs4", 18.425000000000004),
    _run("instruction_following__summarize", "bs4-02", 20.349999999999994),
    _run("instruction_following__summarize", "bs4", 17.391666666666676),
    _run("math__AMPS_Hard", "bs4-02", 49, _AMPS_NOTE),
    _run("math__AMPS_Hard", "bs4", 29, _AMPS_NOTE),
    _run("math__math_comp", "bs4-02", 12),
    _run("math__math_comp", "bs4", 6),
    _run("math__olympiad", "bs4-02", 7.677491630004426),
    _run("math__olympiad", "bs4", 5.508191250833525),
    _run("reasoning__spatial", "bs4", 12),
    _run("reasoning__web_of_lies_v2", "bs4", 10),
    _run("reasoning__zebra_puzzle", "bs4", 21.0),
)
