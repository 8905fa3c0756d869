"""HumanEval: 164 Python functions to complete; the programs run in the sandbox."""

from collections.abc import Iterator
from pathlib import Path

from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.code_tests import last_code_block, run_check
from step3vl.evaluation.files import find, read_records, require_fields
from step3vl.evaluation.item import Item, Recorded, Score
from step3vl.evaluation.prompts import user_message


class HumanEval(Benchmark):
    """Not in the report; the smallest benchmark of code that is permissively licensed."""

    about = About(
        name="humaneval",
        title="HumanEval",
        paper="https://arxiv.org/abs/2107.03374",
        licence="MIT",
        items=164,
        repeats=1,
        family="official",
        metric="pass@1: the function passes its tests",
        files=(DataFile("HumanEval.jsonl", "https://github.com/openai/human-eval, data", "0.2 MB"),),
        modality="text",
        executes=True,
        notes=(
            "A sample of the official repository deletes all files where it is run, to show what responses can do.",
            "A program must come to its end: one that exits before its tests has not passed.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, self.about.files[0].name, self.about)
        for record in read_records(path):
            require_fields(record, ("task_id", "prompt", "test", "entry_point"), path)
            text = (
                "Complete the following Python function. Answer with the whole function in one code block.\n"
                f"```python\n{record['prompt']}```"
            )
            fields = {name: record[name] for name in ("prompt", "test", "entry_point")}
            yield Item(record["task_id"], (user_message(text),), record.get("canonical_solution"), fields=fields)

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        prompt, name = item.fields["prompt"], item.fields["entry_point"]
        code = last_code_block(response)
        if code is None and rule == "strict":
            return Score.unparsable("no code block")
        code = response if code is None else code
        # A response may be the whole function, or what follows the prompt; a whole one may need the prompt's imports.
        program = f"{prompt.partition(f'def {name}')[0]}\n{code}" if f"def {name}" in code else prompt + code
        outcome = run_check(f"{program}\n{item.fields['test']}\ncheck({name})")
        return Score.of(outcome.passed, code, outcome.reason)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """JSON lines of task_id and completion, maybe with `passed`."""
        repeats: dict[str, int] = {}
        for row in read_records(path):
            require_fields(row, ("task_id", "completion"), path)
            repeat = repeats[row["task_id"]] = repeats.get(row["task_id"], -1) + 1
            yield None, Recorded(row["task_id"], row["completion"], row.get("passed"), repeat=repeat)


BENCHMARK = HumanEval()
