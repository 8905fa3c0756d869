"""`corpus forget`: a request that takes samples out of a dataset at once, for every reader."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from step3vl.data.dataset import Dataset, Exclusion, Exclusions, add_exclusion


def forget(dataset: Dataset, values: Sequence[str]) -> tuple[str, Exclusion]:
    """Exclude samples by the URL or host of their source, by their id, or by the SHA-256 of an image.

    Bytes stay where they are until the dataset is curated or built again; what reads it leaves them out from now on.
    With a hash, every sample is read once, for images and ancestors are not in the index.

    Args:
        dataset: It must be writable.
        values: URLs or other sources, hosts and hashes.

    Returns:
        The path of the request, relative to the dataset, and the request with the ids of the samples that matched.

    Raises:
        UserError: There is no value.
        StoreError: The store does not answer, or nothing may be written there.
    """
    request = Exclusion.of(values, datetime.now(UTC).isoformat(timespec="seconds"))
    ids = tuple(sorted(_matches(dataset, request)))
    request = request.model_copy(update={"ids": ids})
    return add_exclusion(dataset.files, request), request


def _matches(dataset: Dataset, request: Exclusion) -> Iterator[str]:
    """The ids of the samples that a request names and that no earlier one has excluded."""
    exclusions = Exclusions([request])
    for batch in dataset.index_batches(["id", "source", "offset", "size"]):
        for row in batch.to_pylist():
            if exclusions.covers(row["id"], row["source"]):
                yield row["id"]
            elif request.hashes:
                sample = dataset.read(row["shard"], row["offset"], row["size"])
                if exclusions.covers_content(sample.to_row()):
                    yield row["id"]
