"""`corpus explain`: step by step, why a sample was kept or dropped."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow.compute as pc

from step3vl.data.dataset import DROPPED, Dataset, read_dead_letters
from step3vl.data.dataset.sharding import may_hold
from step3vl.data.errors import UserError
from step3vl.pipelines.curation.evidence import amount, evidence_of
from step3vl.pipelines.curation.filtering import MASKED
from step3vl.pipelines.curation.reading import READ

_CURATION = "curate."  # begins the names of its steps
_ID = re.compile(r"[0-9a-f]{32}")
_LONGEST = 100  # matches that are followed


class Explanation(NamedTuple):
    """What became of a sample in a step.

    Attributes:
        id: Of the sample, or what identifies the record.
        step: Of the ledger; empty for what is in the dataset.
        outcome: `passed`, `dropped`, `failed`, `masked`, `kept` or `forgotten`.
        reason: Why, as the ledger counts it.
        detail: What decided.
    """

    id: str
    step: str
    outcome: str
    reason: str = ""
    detail: str = ""


def explain(dataset: Dataset, name: str) -> list[Explanation]:
    """Say what became of a sample, and of those that it matched.

    Args:
        dataset: That it was, or might have been, written to.
        name: Id of the sample; or the source of a record, as the table of dead letters names it.

    Raises:
        UserError: The dataset never saw it.
        StoreError: The store does not answer.
    """
    steps: list[Explanation] = []
    visited: set[str] = set()
    while name and name not in visited and len(visited) < _LONGEST:
        visited.add(name)
        later, name = _explain(dataset, name)
        steps += later
    if not steps:
        raise UserError(
            f"{dataset.url} has no sample {next(iter(visited))}, and no evidence or dead letter names it; "
            "give the id of a sample, or the source of a record as in dead_letters"
        )
    return steps


def _explain(dataset: Dataset, name: str) -> tuple[list[Explanation], str]:
    """What became of a sample, and the id of the one that decided it."""
    rows = list(evidence_of(dataset.files, name))
    if rows:
        row = rows[0]
        outcome = "masked" if row["reason"] == MASKED else "dropped"
        steps = [
            *_passed(dataset, name, row["step"]),
            Explanation(name, row["step"], outcome, row["reason"], _why(row)),
        ]
        if row["matched_id"] == name:  # as another dataset has it
            return [*steps, *_kept(dataset, name)], ""
        return steps, row["matched_id"]
    if kept := _kept(dataset, name):
        return kept, ""
    if letters := list(read_dead_letters(dataset.url, dataset.files.config, source=name)):
        steps = _passed(dataset, name, letters[0].step)
        for letter in letters:
            dropped = letter.error == DROPPED
            detail = "" if dropped else f"{letter.error}: {letter.reason}"
            outcome, reason = ("dropped", letter.reason) if dropped else ("failed", letter.error)
            steps.append(Explanation(name, letter.step, outcome, reason, detail))
        return steps, ""
    return [], ""


def _passed(dataset: Dataset, name: str, last: str = "") -> list[Explanation]:
    """The steps of the curation that a sample passed before one of them; all of them without one."""
    steps = [step.name for step in dataset.manifest.ledger if step.name.startswith(_CURATION)]
    if READ in steps:  # before it are those of curations of the datasets that were read
        steps = steps[len(steps) - 1 - steps[::-1].index(READ) :]
    before = steps[: steps.index(last)] if last in steps else [] if last else steps
    return [Explanation(name, step, "passed") for step in before]


def _kept(dataset: Dataset, name: str) -> list[Explanation]:
    """The steps of a sample that is in the dataset, and where; none where it is not."""
    for number in _shards_of(dataset, name):
        shard = dataset.manifest.shards[number]
        table = dataset.shard_index(number, ["id", "task", "source", "licence", "text_tokens", "image_tokens"])
        table = table.filter(pc.equal(table["id"], name))
        if not len(table):
            continue
        (row,) = table.to_pylist()
        tokens = row["text_tokens"] + row["image_tokens"]
        place = (
            f"{row['task']}, {tokens} tokens, of {row['source']} ({row['licence']}), in {shard.path} ({shard.split})"
        )
        steps = [*_passed(dataset, name), Explanation(name, "", "kept", "", place)]
        if dataset.exclusions.covers(name, row["source"]):
            steps.append(Explanation(name, "", "forgotten", "", "a request excludes it: readers leave it out"))
        return steps
    return []


def _shards_of(dataset: Dataset, name: str) -> Iterator[int]:
    """The shards that may have a sample; none where the name is no id."""
    if _ID.fullmatch(name):
        yield from (number for number, info in enumerate(dataset.manifest.shards) if may_hold(info.path, name))


def _why(row: dict[str, Any]) -> str:
    """What decided, in a few words."""
    words = []
    if row["matched_id"]:
        words.append(f"{'as' if row['reason'] == MASKED else 'matches'} {row['matched_id']}")
    if row["matched_dataset"]:
        words.append(f"of {row['matched_dataset']}")
    for name, unit in (("similarity", ""), ("phash", " of 64 bits"), ("pdq", " of 256 bits")):
        if row[name] is not None:
            words.append(f"{name} {row[name]:.4g}{unit}")
    if row["value"] is not None:
        words.append(f"measured {amount(row['value'])}, limit {amount(row['limit'])}")
    return ", ".join(words) + (f": {row['detail']}" if row["detail"] else "")
