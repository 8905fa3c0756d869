"""The examples of the evaluation stage: some items of each task with their images and what every model answered."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from step3vl.data.sample import EXTENSION, Image
from step3vl.evaluation.heldout import HeldOut
from step3vl.evaluation.item import Item
from step3vl.evaluation.results import Result
from step3vl.evaluation.runner import ANSWERS, read_images
from step3vl.workflows.score_tables import Runs


def write_examples(suites: Sequence[HeldOut], runs: Runs, count: int, out: Path) -> list[dict[str, Any]]:
    """The first items of each task that were asked, with their first replies at temperature 1 and by PaCoRe.

    Images are written below `examples/`, byte for byte as the dataset has them.

    Args:
        suites: The tasks.
        runs: The results of every model.
        count: How many items of each task.
        out: The stage's output.
    """
    examples = []
    for suite in suites:
        name = suite.about.name
        results = [group[name] for of_model in runs.values() for kind, group in of_model.items() if kind != "greedy"]
        lines = [{line["id"]: line for line in result.items() if line["repeat"] == 0} for result in results]
        chosen = list(lines[0])[:count]
        reasoning = [_reasoning(result, set(chosen)) for result in results]
        for item in _items(suite, chosen):
            answers = [
                {
                    "model": result.name,
                    "text": by_item[item.id]["response"],
                    "reasoning": texts.get(item.id, ""),
                    "verdict": by_item[item.id]["verdict"],
                }
                for result, by_item, texts in zip(results, lines, reasoning, strict=True)
                if item.id in by_item
            ]
            examples.append(
                {
                    "task": item.category,
                    "id": item.id,
                    "question": lines[0][item.id]["question"].replace("[image]", "").strip("\n"),
                    "images": _write_images(item, out),
                    "expected": item.answer,
                    "truth": item.fields["truth"],
                    "answers": answers,
                }
            )
    return examples


def _items(suite: HeldOut, ids: Sequence[str]) -> Iterator[Item]:
    remaining = set(ids)
    for item in suite.items(Path()):
        if item.id in remaining:
            remaining.remove(item.id)
            yield item
        if not remaining:
            return


def _reasoning(result: Result, items: set[str]) -> Mapping[str, str]:
    """The reasoning of the first reply to each item."""
    texts: dict[str, str] = {}
    assert result.folder is not None
    with (result.folder / ANSWERS).open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if row["fields"]["item"] in items and row["fields"]["repeat"] == 0:
                texts[row["fields"]["item"]] = row.get("reasoning", "")
    return texts


def _write_images(item: Item, out: Path) -> list[str]:
    folder = out / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, encoded in enumerate(read_images(item)):
        path = folder / f"{item.id}.{number}.{EXTENSION[Image.from_bytes(encoded).format]}"
        path.write_bytes(encoded)
        paths.append(str(path.relative_to(out)))
    return paths
