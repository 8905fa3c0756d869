"""HumanEval-V: 253 Python functions whose specification is in a diagram; the programs run in the sandbox."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from math import comb
from pathlib import Path

from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.code_tests import run_check
from step3vl.evaluation.files import find_all, image_bytes, read_json, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored
from step3vl.evaluation.prompts import user_message

_FENCE = "```"
_PROMPT = """The image shows a Python programming problem; the signature below is not all of it. Work out from the \
image how inputs, outputs, patterns and conditions are related, and complete the function.
Answer with the whole function, its signature included, in one Python code block.

```python
{signature}
```"""


class HumanEvalV(Benchmark):
    """Vision to code: the model sees the diagram and writes the function (V2C of the authors)."""

    about = About(
        name="humaneval-v",
        title="HumanEval-V",
        paper="https://github.com/HumanEval-V/HumanEval-V-Benchmark",
        licence="MIT",
        items=253,
        repeats=6,
        family="bare",
        metric="pass@1: the function passes its tests; pass@3 from six responses",
        files=(
            DataFile(
                "test-*.parquet", "https://huggingface.co/datasets/HumanEval-V/HumanEval-V-Benchmark, data", "32 MB"
            ),
        ),
        executes=True,
        notes=(
            "The authors also have a mode in which a diagram is described first and the function written from the "
            "description (V2T2C); the paper does not say which it used.",
            "The authors reject programs that Pylint finds errors in before they run them; here they fail in their "
            "tests if at all.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        for path in find_all(data, "test-*.parquet", self.about):
            for record in read_records(path):
                require_fields(record, ("qid", "diagram", "function_signature", "test_script"), path)
                signature = record["function_signature"]
                yield Item(
                    id=record["qid"],
                    messages=(user_message(_PROMPT.format(signature=signature.rstrip()), images=1),),
                    answer=record.get("ground_truth_solution"),
                    images=(image_bytes(record["diagram"]),) if images else (),
                    group=record["qid"].partition("-")[0],
                    category=record.get("task_type") or "",
                    fields={"signature": signature, "test": record["test_script"]},
                )

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        signature = item.fields["signature"].rstrip() + "\n"
        code = read_code(response, signature)
        if code is None:
            return Score.unparsable("no code block")
        outcome = run_check(f"{signature}    pass\n\n{code}\n\n{item.fields['test']}")
        return Score.of(outcome.passed, code, outcome.reason)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """pass@1, and pass@3 where there are three responses or more to each item."""
        metrics = super().summarise(scored)
        items: dict[str, list[float]] = defaultdict(list)
        for each in scored:
            items[each.item.id].append(each.score.value)
        values = {"pass@1": _pass_at(1, items.values())}
        if items and min(map(len, items.values())) >= 3:
            values["pass@3"] = _pass_at(3, items.values())
        return Metrics("pass@1", values, metrics.counts, metrics.categories)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """An array of qid, prompt and predictions."""
        for record in read_json(path):
            require_fields(record, ("qid", "predictions"), path)
            for repeat, prediction in enumerate(record["predictions"]):
                yield None, Recorded(record["qid"], prediction, repeat=repeat)


def read_code(response: str, signature: str) -> str | None:
    """The program of a response: its last block of Python that defines `solution`, else the first block.

    Args:
        response: The response.
        signature: Put before a block that is indented, which is the function's body alone.
    """
    blocks = [part.partition(_FENCE)[0] for part in response.replace("``` python", "```python").split("```python")[1:]]
    if not blocks:
        parts = response.split(_FENCE)
        blocks = parts[1:2] if len(parts) > 2 else []
    if not blocks:
        return None
    code = next((block for block in reversed(blocks) if "def solution" in block), blocks[0])
    return signature + code if code.startswith(("\n  ", "  ")) else code


def _pass_at(tries: int, groups: Collection[list[float]]) -> float:
    """The chance in percent that one of some responses to an item is right, without bias (Chen et al., 2021)."""
    if not groups:
        return 0.0
    failed = (comb(len(group) - round(sum(group)), tries) / comb(len(group), tries) for group in groups)
    return 100 * (1 - sum(failed) / len(groups))


BENCHMARK = HumanEvalV()
