"""LiveCodeBench: problems of programming contests, by the date of the contest; responses run in the sandbox."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.code_tests import last_code_block, read_tests, run_tests
from step3vl.evaluation.files import find_all, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored, mean_percent
from step3vl.evaluation.prompts import user_message
from step3vl.evaluation.records import RecordedRun

START, END = "2024-08-01", "2025-06-01"
"""The contests of the report's window, August 2024 to May 2025; the end is not part of it."""
_WINDOWS = {"2023-05 to 2024-05": ("2023-05-01", "2024-06-01"), "2024-08 to 2025-01": ("2024-08-01", "2025-02-01")}
_SOURCE = "https://huggingface.co/datasets/livecodebench/code_generation_lite"
_TESTS = ("public_test_cases", "private_test_cases", "metadata")
_WITH_STARTER = (
    "You will use the following starter code to write the solution to the problem and enclose your code within "
    "delimiters.\n```python\n{starter}\n```"
)
_WITH_STDIN = (
    "Read the inputs from stdin, solve the problem, and write the answer to stdout. Enclose your code within "
    "delimiters as follows.\n```python\n# YOUR CODE HERE\n```"
)


class LiveCodeBench(Benchmark):
    """The score is pass@1: the mean over problems of the share of responses that pass all tests."""

    about = About(
        name="livecodebench",
        title="LiveCodeBench (2408-2505)",
        paper="https://arxiv.org/abs/2403.07974",
        licence="the problems belong to LeetCode, AtCoder and Codeforces; the code is MIT",
        items=454,
        repeats=16,
        family="official",
        metric="pass@1 on the contests from August 2024 to May 2025",
        files=(DataFile("test*.jsonl", f"{_SOURCE}, release_v6", "4.5 GB"),),
        modality="text",
        executes=True,
        notes=("Programs that only differ from an expected number in its notation pass, as in the official code.",),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        for path in find_all(data, self.about.files[0].name, self.about):
            for record in read_records(path):
                names = ("question_id", "question_content", "contest_date", "difficulty", "starter_code")
                require_fields(record, (*names, *_TESTS), path)
                if not START <= record["contest_date"][:10] < END:
                    continue
                starter = record["starter_code"]
                form = _WITH_STARTER.format(starter=starter) if starter else _WITH_STDIN
                question = f"### Question:\n{record['question_content']}\n\n### Format: {form}\n\n### Answer:"
                tests = {name: record[name] for name in _TESTS}
                yield Item(
                    str(record["question_id"]), (user_message(question),), None, category=record["difficulty"],
                    fields={"date": record["contest_date"][:10], **tests},
                )  # fmt: skip

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if "graded" in item.fields:
            return Score.of(item.fields["graded"], None, "recorded")
        program = last_code_block(response)
        if program is None:
            return Score.unparsable("no code block")
        try:
            tests = read_tests(item.fields)
        except ValueError as error:
            raise UserError(f"livecodebench, problem {item.id}: {error}; download the file again") from None
        outcome = run_tests(program, tests)
        return Score.of(outcome.passed, program, outcome.reason)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """pass@1 of all problems, by difficulty, and of windows of contest dates."""
        metrics = super().summarise(scored)
        values = {"pass@1": metrics.value}
        counts = dict(metrics.counts)
        for name, (start, end) in _WINDOWS.items():
            group = [each for each in scored if start <= each.item.fields["date"] < end]
            if not group:
                continue
            values[name] = mean_percent(group)
            counts[f"correct {name}"] = sum(each.score.verdict == "correct" for each in group)
        for name in ("easy", "medium", "hard"):
            counts[f"correct {name}"] = sum(each.score.value == 1 for each in scored if each.item.category == name)
        return Metrics("pass@1", values, counts, metrics.categories)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """Evaluated files (`*_eval_all.json`): question_id, contest_date, difficulty, code_list and graded_list."""
        for row in read_records(path):
            require_fields(row, ("question_id", "contest_date", "difficulty", "code_list", "graded_list"), path)
            fields = {"date": row["contest_date"][:10]}
            item = Item(str(row["question_id"]), (), None, category=row["difficulty"], fields=fields)
            for repeat, (code, graded) in enumerate(zip(row["code_list"], row["graded_list"], strict=True)):
                with_verdict = replace(item, fields={**item.fields, "graded": bool(graded)})
                yield with_verdict, Recorded(item.id, code, bool(graded), repeat=repeat)


BENCHMARK = LiveCodeBench()


def _run(model: str, correct: int, older: int, newer: int, difficulties: tuple[int, int, int]) -> RecordedRun:
    published = {"correct": correct, "pass@1": 100 * correct / 880, "2024-08 to 2025-01": 100 * newer / 279}
    published |= {"correct 2023-05 to 2024-05": older, "correct 2024-08 to 2025-01": newer}
    published |= {f"correct {name}": n for name, n in zip(("easy", "medium", "hard"), difficulties, strict=True)}
    note = "recorded verdicts, for the records hold no tests; the numbers check the aggregation"
    return RecordedRun("LiveCodeBench", f"{model}.graded.json.gz", published, note)


RECORDS = (
    _run("O1-Mini-2024-09-12", 602, 396, 145, (265, 243, 94)),
    _run("O1-Preview-2024-09-12", 489, 323, 119, (263, 188, 38)),
)
