"""What is remembered of a shard that was written, so that a later run can leave it as it is."""

from step3vl.data.config import Config
from step3vl.data.dataset import WrittenShard
from step3vl.data.storage import Store


class KeptShard(Config):
    """A shard that was written."""

    digest: str
    """Of all that decides its bytes."""
    written: WrittenShard
    offsets_blake3: str
    """Of the `.idx`."""

    def is_intact(self, out: Store, digest: str) -> bool:
        """Whether the shard is of some content and all its files are there with their bytes.

        Args:
            out: Of the dataset.
            digest: Of all that decides the shard's bytes now.

        Raises:
            StoreError: The store does not answer.
        """
        info = self.written.info
        hashes = (
            (info.index_path, info.index_blake3),
            (info.offsets_path, self.offsets_blake3),
            (info.path, info.blake3),
        )
        try:
            return self.digest == digest and all(out.hash(path) == expected for path, expected in hashes)
        except FileNotFoundError:
            return False
