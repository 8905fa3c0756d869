"""Files by which other libraries read the shards of a dataset as they are: the index of wids, Energon's metadata.

Both follow from the manifest alone, so that no shard is read or copied; the `.tar.idx` that Energon needs is there.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.shards import Split
from step3vl.data.errors import UserError

_SPLITS: Mapping[Split, str] = {"train": "train", "heldout": "val"}  # and what Energon calls them
_CRUDE = b"__module__: megatron.energon\n__class__: CrudeWebdataset\n"


def write_reader_files(dataset: Dataset, reader: str) -> list[str]:
    """Write what another library needs beside the manifest. `dataset.yaml` of Energon stays if there is one.

    Args:
        dataset: The dataset.
        reader: Of `READERS`.

    Returns:
        The files, relative to the dataset.

    Raises:
        UserError: Samples of the dataset must be forgotten, which the library would read.
        StoreError: The store does not answer, or cannot be written.
    """
    if dataset.exclusions:
        raise UserError(
            f"samples of {dataset.url} are to be forgotten, and {reader} would read them: write a dataset without "
            "them first, with `step3vl corpus split` or `merge`"
        )
    files = READERS[reader](dataset)
    for path, data in files.items():
        if path.endswith("/dataset.yaml"):
            dataset.files.create_new(path, data)
        else:
            dataset.files.put(path, data)
    return list(files)


def wids_files(dataset: Dataset) -> dict[str, bytes]:
    """An index of each split that has samples, whose URLs are relative to it."""
    lists: dict[Split, list[dict[str, Any]]] = {split: [] for split in _SPLITS}
    for shard in dataset.manifest.shards:
        lists[shard.split].append({"url": shard.path, "nsamples": shard.samples, "filesize": shard.size})
    name = dataset.manifest.name
    return {
        f"wids-{split}.json": _json(
            {"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": f"{name}-{split}", "shardlist": shards}
        )
        for split, shards in lists.items()
        if shards
    }


def energon_files(dataset: Dataset) -> dict[str, bytes]:
    """What `energon prepare` writes for a crude dataset, without its database of keys. JSON is YAML, too."""
    shards = dataset.manifest.shards
    parts = {name: [shard.path for shard in shards if shard.split == split] for split, name in _SPLITS.items()}
    return {
        ".nv-meta/.info.json": _json({"shard_counts": {shard.path: shard.samples for shard in shards}}),
        ".nv-meta/split.yaml": _json({"split_parts": parts, "exclude": []}),
        ".nv-meta/dataset.yaml": _CRUDE,
    }


READERS: dict[str, Callable[[Dataset], dict[str, bytes]]] = {"wids": wids_files, "energon": energon_files}
"""What a library needs, by its name."""


def _json(value: object) -> bytes:
    return f"{json.dumps(value, indent=1, ensure_ascii=False)}\n".encode()
