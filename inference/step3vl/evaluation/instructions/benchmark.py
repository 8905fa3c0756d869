"""What IFEval and IFBench share: prompts with verifiable instructions, and four accuracies."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmark import Benchmark, Rule
from step3vl.evaluation.files import find, find_all, read_records, require_fields
from step3vl.evaluation.instructions.following import Followed, follow
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored
from step3vl.evaluation.prompts import user_message


class InstructionFollowing(Benchmark):
    """Prompts whose instructions a program checks. The values are accuracies of prompts and of instructions."""

    mode: ClassVar[Literal["strict", "loose"]] = "strict"
    """Which way to check makes the headline, the accuracy of prompts."""

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        yield from self.read_items(find(data, self.about.files[0].name, self.about))

    def read_items(self, path: Path) -> Iterator[Item]:
        """The items of an official file."""
        for record in read_records(path):
            require_fields(record, ("key", "prompt", "instruction_id_list", "kwargs"), path)
            prompt, instructions = record["prompt"], record["instruction_id_list"]
            fields = {"prompt": prompt, "instructions": instructions, "arguments": record["kwargs"]}
            yield Item(str(record["key"]), (user_message(prompt),), instructions, fields=fields)

    def check(self, item: Item, response: str, rule: Rule) -> Followed:
        """Which instructions the response follows."""
        return follow(response, item.fields["instructions"], item.fields["arguments"])

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        followed = self.check(item, response, rule)
        passed = getattr(followed, self.mode)
        broken = [name for name, kept in zip(item.fields["instructions"], passed, strict=True) if not kept]
        return Score.of(
            not broken, f"{sum(passed)} of {len(passed)}", *(f"not followed: {name}" for name in broken),
            strict=list(followed.strict), loose=list(followed.loose),
        )  # fmt: skip

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        values: dict[str, float] = {}
        counts: dict[str, int] = {}
        for mode in ("strict", "loose"):
            passed_by_item = [_passed(each, mode) for each in scored]
            prompts = [all(passed) for passed in passed_by_item]
            instructions = [kept for passed in passed_by_item for kept in passed]
            for unit, passed in (("prompt", prompts), ("instruction", instructions)):
                values[f"{unit}_{mode}"] = 100 * sum(passed) / len(passed) if passed else 0.0
                counts[f"{unit}s_{mode}"] = sum(passed)
                counts[f"{unit}s"] = len(passed)
        kinds: dict[str, list[bool]] = defaultdict(list)
        for each in scored:
            for name, kept in zip(each.item.fields["instructions"], _passed(each, self.mode), strict=True):
                kinds[name.partition(":")[0]].append(kept)
        categories = {kind: 100 * sum(kept) / len(kept) for kind, kept in sorted(kinds.items())}
        return Metrics(f"prompt_{self.mode}", values, counts, categories)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """Lines of prompt and response, maybe with `follow_all_instructions`; the official files lie beside it."""
        # Of several releases of the official file, the last by name that has a prompt counts.
        files = find_all(path.parent, self.about.files[0].name, self.about)
        items = {_words(item.fields["prompt"]): item for file in files for item in self.read_items(file)}
        for row in read_records(path):
            require_fields(row, ("prompt", "response"), path)
            item = items.get(_words(row["prompt"]))
            if item is None:
                start = row["prompt"][:60]
                raise UserError(f"{path}: the prompt '{start}' is in none of {', '.join(map(str, files))}")
            yield item, Recorded(item.id, row["response"], row.get("follow_all_instructions"))


def _passed(each: Scored, mode: str) -> list[bool]:
    """Which instructions a response follows; none where it is missing or was cut off."""
    return each.score.details.get(mode) or [False] * len(each.item.fields["instructions"])


def _words(prompt: str) -> str:
    """What two copies of a prompt are compared by."""
    return " ".join(prompt.split())
