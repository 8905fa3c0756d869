"""Reads every sample of a split of a dataset with Megatron-Energon, in an environment that has it (`make test-peers`).

    .venv-peers/bin/python tests/peers/energon_reader.py DATASET train|val

It prints a line of JSON for each sample: its key, and the SHA-256 of each member by extension.
"""

import hashlib
import json
import sys
from typing import Any

from megatron.energon import (
    Cooker,
    DefaultTaskEncoder,
    Sample,
    WorkerConfig,
    basic_sample_keys,
    edataclass,
    get_savable_loader,
    get_train_dataset,
    get_val_dataset,
    stateless,
)


@edataclass
class Members(Sample):
    """A sample as Energon found it in the shard."""

    members: dict[str, bytes]


@stateless
def cook(sample: dict[str, Any]) -> Members:
    members = {name: data for name, data in sample.items() if not name.startswith("__")}
    return Members(**basic_sample_keys(sample), members=members)


class Encoder(DefaultTaskEncoder):
    """Leaves members as they are."""

    cookers = [Cooker(cook)]  # noqa: RUF012
    decoder = None


def main(url: str, split: str) -> None:
    options = {
        "batch_size": None,
        "worker_config": WorkerConfig(rank=0, world_size=1, num_workers=0),
        "task_encoder": Encoder(),
    }
    if split == "train":
        shuffling = {"shuffle_buffer_size": None, "max_samples_per_sequence": None, "repeat": False}
        dataset = get_train_dataset(url, split_part=split, **shuffling, **options)
    else:
        dataset = get_val_dataset(url, split_part=split, **options)
    for sample in get_savable_loader(dataset):
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in sample.members.items()}
        print(json.dumps({"key": sample.__key__, "members": digests}))


if __name__ == "__main__":
    main(*sys.argv[1:])
