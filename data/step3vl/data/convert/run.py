"""Whole conversions: records to a committed dataset, and a dataset or records to another format."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.convert import FORMATS, About
from step3vl.data.convert.records import BAD, STEP, letter
from step3vl.data.crops import ImageSpec
from step3vl.data.dataset import Counting, Dataset, code_version, commit, split_of
from step3vl.data.errors import UserError
from step3vl.data.files import write_durably
from step3vl.data.ledger import DeadLetter, Step
from step3vl.data.letters import Letters
from step3vl.data.manifest import MANIFEST, Split
from step3vl.data.sample import Sample
from step3vl.data.spill import Spill
from step3vl.data.tokens import count_tokens, fingerprint, keep_tokenizer, load_tokenizer

ACCOUNT = "_account"  # the folder beside what was written; readers of data pass over such names
LEDGER = "ledger.json"
COUNTED = "tokens"
WRITTEN = "write"
DATASET = "dataset"

Items = Iterator[Sample | DeadLetter]


class DatasetConfig(Config):
    """The dataset that records become. With more shards, less memory is needed."""

    name: str = Field(pattern=r"^[a-z0-9_-]+$")
    tokenizer: str = "qwen3"  # or a file or folder, which is copied
    image: ImageSpec = ImageSpec()
    shards: int = Field(default=16, ge=1, le=99_999)
    heldout: float = Field(default=0.0, ge=0, lt=1)


class Converted(NamedTuple):
    """What became of every record, and an example of those that failed."""

    steps: tuple[Step, ...]
    first: DeadLetter | None


def read_records(source: Path, form: str, about: About) -> Items:
    """The samples of a file or folder in the format `form`. Raises UserError when there is nothing to read."""
    if not source.exists():
        raise UserError(f"{source}: no such file or folder; give what is to be converted")
    try:
        yield from FORMATS[form].read(source, about)
    except ValueError as error:
        raise UserError(f"{error}; give a file or folder in the format {form}") from None


def read_dataset(dataset: Dataset, split: Split | None = None, task: str | None = None) -> Items:
    """The samples of a dataset in the order of its shards; damaged ones are dead letters."""
    for batch in dataset.index_batches(["id", "offset", "size"], split=split, task=task):
        for row in batch.to_pylist():
            try:
                yield dataset.read(row["shard"], row["offset"], row["size"])
            except UserError as error:
                yield letter(error, row["id"])


def to_dataset(items: Items, out: Path, config: DatasetConfig, origin: dict[str, Any]) -> Converted:
    """Commit the samples as a dataset at `out`; `origin` says in its configuration what they were made of.

    Raises UserError when a dataset is there already, and when no record is left.
    """
    refuse_dataset(out)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(config.tokenizer)
    letters = Letters(out)
    read = counted = 0
    with Spill(config.shards) as spill:
        for item in items:
            if isinstance(item, DeadLetter):
                letters.add(item)
                continue
            read += 1
            try:
                tokens = count_tokens(item, tokenizer, config.image)
                images = tuple(spill.stage(picture) for picture in item.images)
            except BAD as error:
                letters.add(letter(error, item.source.uri, COUNTED))
                continue
            counted += 1
            said = json.dumps([item.source.model_dump(mode="json"), item.scores], sort_keys=True)
            row = item.model_copy(update={"tokens": tokens, "images": images}).to_row()
            spill.add(item.id, split_of(item.id, config.heldout), said, row)
        letters.close()
        steps = [letters.account(STEP, read), letters.account(COUNTED, counted)]
        _need_some(counted, letters)
        infos, written = spill.write(str(out), config.name, Sample.from_row)
    name = keep_tokenizer(config.tokenizer, tokenizer, out)
    made = config.model_dump(mode="json", exclude={"tokenizer", "image"})
    commit(
        out,
        name=config.name,
        shards=infos,
        ledger=[*steps, written],
        counting=Counting(tokenizer=name, tokenizer_sha256=fingerprint(tokenizer), image=config.image),
        config={"convert": {**made, **origin}},
        code_version=code_version("step3vl.data"),
    )
    return Converted((*steps, written), letters.first)


def to_files(items: Items, out: Path, form: str) -> Converted:
    """Write the samples into a new folder in the format `form`, with the ledger; the folder is there whole or not.

    Raises UserError when `out` is there already, and when no sample is left.
    """
    if out.exists():
        raise UserError(f"{out} is there already; give a new folder")
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    account = temporary / ACCOUNT
    account.mkdir(parents=True)
    try:
        done = _write(items, temporary, account, form)
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # gone already when all went well
    return done


def _write(items: Items, folder: Path, account: Path, form: str) -> Converted:
    letters = Letters(account)
    writer = FORMATS[form].write(folder)
    read = kept = 0
    for item in items:
        if isinstance(item, DeadLetter):
            letters.add(item)
            continue
        read += 1
        try:
            writer.add(item)
        except BAD as error:
            letters.add(letter(error, item.id, WRITTEN))
        else:
            kept += 1
    writer.close()
    letters.close()
    steps = (letters.account(STEP, read), letters.account(WRITTEN, kept))
    _need_some(kept, letters)
    write_durably(account / LEDGER, json.dumps([step.model_dump() for step in steps], indent=1).encode())
    return Converted(steps, letters.first)


def refuse_dataset(out: Path) -> None:
    """Raises UserError when a dataset is at `out`: none is written over."""
    if (out / MANIFEST).exists():
        raise UserError(f"{out} already holds a dataset; give another folder, or remove it first")


def _need_some(kept: int, letters: Letters) -> None:
    if not kept:
        first = letters.first
        why = f"; the first, {first.source}: {first.reason}" if first else ""
        raise UserError(f"no record could be converted{why}; see that the format is the right one")
