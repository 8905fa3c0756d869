"""Counting the tokens of staged samples, fragment by fragment, and the tokenizer that counts them.

The counts of a fragment are an index of its samples: id, place, tokens. Shards are planned from it alone.

    <root>/<entry>/tokens-<fingerprint>/<fragment>.parquet        one row a sample
                                        <fragment>.dead.parquet   dead letters
                                        <fragment>.json           `CountedFragment`, written last: the commit
"""

import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from step3vl.data.config import Config
from step3vl.data.dataset import (
    DROPPED,
    FORGOTTEN,
    DeadLetter,
    Exclusions,
    LedgerStep,
    archived_size,
    write_dead_letters,
)
from step3vl.data.sample import ImageSpec, Sample
from step3vl.data.storage import request_count
from step3vl.data.tokens import count_tokens, fingerprint, load_tokenizer
from step3vl.pipelines.core.accounts import TOKENS
from step3vl.pipelines.core.commits import COMMIT_REQUESTS, Commit, read_commit, read_model
from step3vl.pipelines.core.cpu_time import cpu_time
from step3vl.pipelines.core.fragment_writer import DEAD_LETTERS
from step3vl.pipelines.core.fragments import Fragment
from step3vl.pipelines.core.retry import retry_id
from step3vl.pipelines.core.segment import digest
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.work_buckets import put_passing

TOKENS_VERSION = 1  # of the rows below
_LAST = "tokenizers/last.json"
_BATCH = 256  # samples in memory
_READS = 2  # of the counts: for the number of shards, and to deal the samples to them
NO_RETRIES: Mapping[str, int] = {}
NO_EXCLUSIONS = Exclusions()
SCHEMA = pa.schema(
    [
        ("id", pa.binary(16)),
        ("offset", pa.int64()),  # of the sample's block in the fragment's part file
        ("size", pa.int64()),
        ("xxh3", pa.uint64()),  # of the block
        ("archived", pa.int64()),  # bytes in a shard
        ("text_tokens", pa.int32()),
        ("image_tokens", pa.int32()),
    ]
)


class StagedTokenizer(Config):
    """A tokenizer as workers find it."""

    path: str
    """`qwen3`, or a `tokenizer.json` relative to the root."""
    sha256: str
    """`step3vl.data.tokens.fingerprint` of the tokenizer."""

    @classmethod
    def stage(cls, tokenizer: Tokenizer, name: str, staging: Staging) -> "StagedTokenizer":
        """Put a tokenizer where workers find it, unless it is the published one, which they have."""
        sha256 = fingerprint(tokenizer)
        if name == "qwen3":
            return cls(path=name, sha256=sha256)
        path = f"tokenizers/{sha256[:20]}.json"
        staging.open().put(path, tokenizer.to_str(pretty=True).encode())
        return cls(path=path, sha256=sha256)

    def save(self, staging: Staging) -> None:
        """Remember it as the one that counted last. Raises StoreError."""
        staging.open().put(_LAST, self.model_dump_json().encode())

    @classmethod
    def last(cls, staging: Staging) -> "StagedTokenizer | None":
        """What `save` left; None where nothing was counted yet."""
        return read_model(staging.open(), _LAST, cls)

    def load(self, staging: Staging) -> Tokenizer:
        """The tokenizer. It encodes the names of special tokens in a text as plain text."""
        if self.path == "qwen3":
            return load_tokenizer(self.path)
        tokenizer = Tokenizer.from_str(staging.open().read_all(self.path).decode())
        tokenizer.encode_special_tokens = True
        return tokenizer


class CountedFragment(Commit):
    """What counting made of a fragment of samples; its commit record."""

    id: str
    samples: str
    """The fragment of samples, relative to the root and without an ending."""
    accounts: tuple[LedgerStep, ...]
    text_tokens: int
    image_tokens: int
    seconds: float
    cpu_seconds: float
    read_bytes: int
    written_bytes: int
    requests: int
    round: int = 0
    """Of retries, in which it was made; see `retry`."""


class TokenCounter:
    """Counts the tokens of fragments of samples in this process.

    Args:
        tokenizer: What counts them.
        spec: Sizes of images and crops, by which image tokens are counted.
        staging: Where the samples are and the counts go.
        retries: Rounds of retries by the folder of samples. Samples that failed are counted again in each, and the
            counts that hold them and those of the others take the place of the first.
        exclusions: The samples that must no longer be used; they are dropped here, whenever they were made.
    """

    def __init__(
        self,
        tokenizer: StagedTokenizer,
        spec: ImageSpec,
        staging: Staging,
        retries: Mapping[str, int] = NO_RETRIES,
        exclusions: Exclusions = NO_EXCLUSIONS,
    ) -> None:
        self._staged = tokenizer
        self._spec = spec
        self._staging = staging
        self._store = staging.open()
        self._retries, self._exclusions = retries, exclusions

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return self._staged.load(self._staging)

    def path(self, fragment: Fragment, id: str = "") -> str:
        """Where the counts of a fragment are, relative to the root and without an ending.

        Args:
            fragment: Of samples.
            id: Of the counts, if not of the fragment.
        """
        assert fragment.rows is not None
        return f"{self.folder(fragment.rows.path.rpartition('/')[0])}/{id or fragment.id}"

    def folder(self, samples: str) -> str:
        """Where the counts of the fragments in a folder of samples are, relative to the root."""
        depends = [TOKENS_VERSION, self._staged.sha256, self._spec.model_dump(mode="json"), samples]
        if self._exclusions:
            depends.append(self._exclusions.digest)
        return f"{samples.split('/')[0]}/tokens-{digest(*depends)[:20]}"

    def committed(self, fragment: Fragment) -> CountedFragment | None:
        """The counts of a fragment that are committed and whose files are in place."""
        return read_commit(self._store, self.path(fragment), CountedFragment)

    def run(self, fragment: Fragment) -> CountedFragment:
        """Count the samples of a fragment and commit the counts; what is committed already is returned at once.

        Raises:
            InfrastructureError: The machine or the store caused an error; nothing was committed.
        """
        assert fragment.rows is not None
        rounds = self._retries.get(fragment.rows.path.rpartition("/")[0], 0)
        result = self.committed(fragment)
        if result is None:
            with cpu_time() as cpu_seconds:
                result = self._count(fragment, cpu_seconds, fragment.id, rounds)
        for number in range(result.round + 1, rounds + 1):
            if not any(step.failed for step in result.accounts):
                break
            id = retry_id(fragment.id, number)
            retry = read_commit(self._store, self.path(fragment, id), CountedFragment)
            if retry is None and number == rounds:
                with cpu_time() as cpu_seconds:
                    retry = self._count(fragment, cpu_seconds, id, rounds, result)
            result = retry or result
        return result

    def _count(
        self,
        fragment: Fragment,
        cpu_seconds: Callable[[], float],
        id: str,
        number: int,
        before: CountedFragment | None = None,
    ) -> CountedFragment:
        """Count the samples of a fragment; with the counts of a round before, those alone that failed in it."""
        start, requests = time.perf_counter(), request_count()
        assert fragment.rows is not None
        source, path = fragment.rows.path, self.path(fragment, id)
        rows: list[dict[str, Any]] = []
        if before is not None:
            rows = read_counts(self._staging, self.path(fragment, before.id)).to_pylist()
        counted = {(row["id"].hex(), row["offset"]) for row in rows}
        dead: list[DeadLetter] = []
        read_bytes = 0
        for row in read_sample_rows(self._staging, source, ("id", "row", "offset", "size", "xxh3")):
            if (row["id"], row["offset"]) in counted:
                continue
            read_bytes += len(row["row"])
            if self._exclusions and self._exclusions.covers_content(json.loads(row["row"])):
                dead.append(DeadLetter(step=TOKENS, error=DROPPED, reason=FORGOTTEN, source=row["id"]))
                continue
            try:
                rows.append(self._counted(row))
            except Exception as error:  # whatever a sample can raise is that sample's failure
                dead.append(DeadLetter.from_error(error, step=TOKENS, source=row["id"]))
        rows.sort(key=lambda row: row["offset"])
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), buffer, compression="zstd")
        files = {"parquet": buffer.getbuffer().nbytes}
        put_passing(self._store, f"{path}.parquet", buffer.getvalue())
        if dead:
            write_dead_letters(self._store, f"{path}.{DEAD_LETTERS}", dead)
            files[DEAD_LETTERS] = self._store.info(f"{path}.{DEAD_LETTERS}").size
        failed = Counter(dead_letter.error for dead_letter in dead if dead_letter.error != DROPPED)
        dropped = Counter(dead_letter.reason for dead_letter in dead if dead_letter.error == DROPPED)
        account = LedgerStep(name=TOKENS, read=len(rows) + len(dead), kept=len(rows), dropped=dropped, failed=failed)
        result = CountedFragment(
            id=id,
            round=number,
            samples=source,
            files=files,
            accounts=(account,),
            text_tokens=sum(row["text_tokens"] for row in rows),
            image_tokens=sum(row["image_tokens"] for row in rows),
            seconds=time.perf_counter() - start,
            cpu_seconds=cpu_seconds(),
            read_bytes=read_bytes,
            written_bytes=sum(files.values()),
            requests=request_count() - requests + COMMIT_REQUESTS + _READS,
        )
        self._store.put(f"{path}.json", result.model_dump_json().encode())
        return result

    def _counted(self, row: dict[str, Any]) -> dict[str, Any]:
        sample = Sample.from_row(json.loads(row["row"]))
        tokens = count_tokens(sample, self._tokenizer, self._spec)
        return {
            "id": bytes.fromhex(sample.id),
            "offset": row["offset"],
            "size": row["size"],
            "xxh3": row["xxh3"],
            "archived": archived_size(sample, tokens),
            "text_tokens": tokens.text,
            "image_tokens": tokens.image,
        }


def read_counts(staging: Staging, path: str) -> pa.Table:
    """The counts of a fragment, with the columns of `SCHEMA`."""
    return pq.read_table(pa.BufferReader(staging.open().read_all(f"{path}.parquet")))


def read_sample_rows(staging: Staging, path: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a fragment of samples, in a stream.

    Args:
        staging: Where the fragment is.
        path: Relative to the root and without an ending.
        columns: Their names.
    """
    with pq.ParquetFile(staging.open().open_ranges(f"{path}.parquet"), pre_buffer=True) as file:
        for batch in file.iter_batches(batch_size=_BATCH, columns=list(columns)):
            yield from batch.to_pylist()
