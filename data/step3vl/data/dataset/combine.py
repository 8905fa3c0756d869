"""Merging datasets without duplicates, and splitting one again. Images are copied from shard to shard unchanged."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.ledger import Ledger, LedgerStep
from step3vl.data.dataset.provenance import code_version
from step3vl.data.dataset.sharding import split_of
from step3vl.data.dataset.sorter import RankedRow, SampleSorter
from step3vl.data.dataset.writer import commit, refuse_existing_dataset
from step3vl.data.errors import UserError, infrastructure_errors
from step3vl.data.sample.sample import Sample
from step3vl.data.tokens.vocabulary import load_tokenizer, save_tokenizer


def merge(datasets: Sequence[Dataset], out: Path, name: str, shards: int | None = None) -> Dataset:
    """Merge datasets, each sample once; a sample that any of them held out stays held out.

    Of equal samples the first dataset's is kept, held-out ones first. The ledger is the sum of theirs and the counts
    of the merge.

    Args:
        datasets: At least one dataset; all with token counts for the same tokenizer and image sizes.
        out: Folder of the new dataset.
        name: Name of the new dataset.
        shards: Shards of each split; by default as many as the datasets have together.

    Raises:
        UserError: The token counts are not for the same tokenizer and sizes, or `out` holds a dataset.
    """
    first = datasets[0]
    for other in datasets[1:]:
        if (other.manifest.counting.tokenizer_sha256, other.manifest.counting.image) != (
            first.manifest.counting.tokenizer_sha256,
            first.manifest.counting.image,
        ):
            raise UserError(
                f"{other.url} has token counts for another tokenizer or other image sizes than {first.url}: "
                "convert it with those of the other first"
            )
    config = {"merge": [{"name": part.manifest.name, "fingerprint": part.fingerprint} for part in datasets]}
    return _rewrite(datasets, out, name, shards, None, config)


def split(dataset: Dataset, out: Path, name: str, heldout: float, shards: int | None = None) -> Dataset:
    """Copy a dataset with another split by the hash of the id.

    Args:
        dataset: The dataset.
        out: Folder of the new dataset.
        name: Name of the new dataset.
        heldout: Fraction of the samples to hold out.
        shards: Shards of each split; by default as many as the dataset has.

    Raises:
        UserError: `out` holds a dataset.
    """
    origin = {"name": dataset.manifest.name, "fingerprint": dataset.fingerprint, "heldout": heldout}
    return _rewrite([dataset], out, name, shards, heldout, {"split": origin})


def _rewrite(
    datasets: Sequence[Dataset],
    out: Path,
    name: str,
    shards: int | None,
    heldout: float | None,
    config: dict[str, Any],
) -> Dataset:
    """Sort rows of the indexes only; a sample is read as it is written."""
    refuse_existing_dataset(out)
    first = datasets[0]
    count = shards or sum(max(_train_shards(dataset), 1) for dataset in datasets)

    def resolve(row: dict[str, Any]) -> Sample:
        return datasets[row["dataset"]].read(row["shard"], row["offset"], row["size"])

    with infrastructure_errors(f"writing {out}"):
        with SampleSorter(count) as sorter:
            for row in _rows(datasets, heldout):
                sorter.add(*row)
            written_shards, written = sorter.write(out, name, resolve)
        counting = first.manifest.counting
        if counting.tokenizer != "qwen3":
            tokenizer = save_tokenizer(counting.tokenizer, load_tokenizer(first.tokenizer), out)
            counting = counting.model_copy(update={"tokenizer": tokenizer})
        step = written.model_copy(update={"name": next(iter(config))})
        previous_steps: list[LedgerStep] = [step for dataset in datasets for step in dataset.manifest.ledger]
        return commit(
            out,
            name=name,
            shards=written_shards,
            ledger=[*Ledger.merge(previous_steps).steps, step],
            counting=counting,
            config=config,
            code_version=code_version("step3vl.data"),
        )


def _rows(datasets: Sequence[Dataset], heldout: float | None) -> Iterator[RankedRow]:
    """Where each sample is, ranked by the order of the datasets."""
    for number, dataset in enumerate(datasets):
        for batch in dataset.index_batches(["id", "offset", "size"]):
            for row in batch.to_pylist():
                previous = dataset.manifest.shards[row["shard"]].split
                side = previous if heldout is None else split_of(row["id"], heldout)
                location = {**{key: row[key] for key in ("shard", "offset", "size")}, "dataset": number}
                yield RankedRow(row["id"], side, f"{number:06d}", location)


def _train_shards(dataset: Dataset) -> int:
    return sum(shard.split == "train" for shard in dataset.manifest.shards)
