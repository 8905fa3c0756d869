"""Datasets to datasets: merged without repetition, or parted anew. Pictures go from shard to shard as they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from step3vl.data.convert.run import refuse_dataset
from step3vl.data.dataset import Dataset, code_version, commit, split_of
from step3vl.data.errors import UserError
from step3vl.data.ledger import Ledger, Step
from step3vl.data.sample import Sample
from step3vl.data.spill import Spill
from step3vl.data.tokens import keep_tokenizer, load_tokenizer


def merge(datasets: Sequence[Dataset], out: Path, name: str, shards: int | None = None) -> Dataset:
    """All samples of the datasets, each once; what any of them held out stays held out.

    Of a sample that several have, the first dataset's is kept, held-out ones before others. The ledger is the sum of
    theirs and the account of the merge. `shards` of each split: by default as many as they have together. Raises
    UserError when they were counted in different ways, or a dataset is at `out` already.
    """
    first = datasets[0]
    for other in datasets[1:]:
        if (other.manifest.counting.tokenizer_sha256, other.manifest.counting.image) != (
            first.manifest.counting.tokenizer_sha256,
            first.manifest.counting.image,
        ):
            raise UserError(
                f"{other.url} was counted with another tokenizer or for other sizes of pictures than {first.url}: "
                "convert it with those of the other before"
            )
    config = {"merge": [{"name": one.manifest.name, "fingerprint": one.fingerprint} for one in datasets]}
    return _rewrite(datasets, out, name, shards, None, config)


def split(dataset: Dataset, out: Path, name: str, heldout: float, shards: int | None = None) -> Dataset:
    """The same samples, of which the fraction `heldout` is held out by the hash of the id.

    Raises UserError when a dataset is at `out` already.
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
    """Only rows of the indexes are sorted; a sample is read as it is written."""
    refuse_dataset(out)
    first = datasets[0]
    count = shards or sum(max(_shards(one), 1) for one in datasets)

    def resolve(row: dict[str, Any]) -> Sample:
        return datasets[row["dataset"]].read(row["shard"], row["offset"], row["size"])

    with Spill(count) as spill:
        for number, dataset in enumerate(datasets):
            for batch in dataset.index_batches(["id", "offset", "size"]):
                for row in batch.to_pylist():
                    was = dataset.manifest.shards[row["shard"]].split
                    side = was if heldout is None else split_of(row["id"], heldout)
                    place = {**{key: row[key] for key in ("shard", "offset", "size")}, "dataset": number}
                    spill.add(row["id"], side, f"{number:06d}", place)
        infos, written = spill.write(str(out), name, resolve)
    counting = first.manifest.counting
    if counting.tokenizer != "qwen3":
        kept = keep_tokenizer(counting.tokenizer, load_tokenizer(first.tokenizer), out)
        counting = counting.model_copy(update={"tokenizer": kept})
    step = written.model_copy(update={"name": next(iter(config))})
    before: list[Step] = [account for one in datasets for account in one.manifest.ledger]
    return commit(
        out,
        name=name,
        shards=infos,
        ledger=[*Ledger.merge(before).steps, step],
        counting=counting,
        config=config,
        code_version=code_version("step3vl.data"),
    )


def _shards(dataset: Dataset) -> int:
    return sum(shard.split == "train" for shard in dataset.manifest.shards)
