"""Fragments: small sets of records that are worked on and committed together, and how inputs are dealt into them."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence

from pydantic import Field, TypeAdapter

from step3vl.data.config import Config
from step3vl.data.dataset import LedgerStep
from step3vl.data.errors import UserError
from step3vl.data.storage import Store
from step3vl.pipelines.core.commits import Commit
from step3vl.pipelines.core.inputs import InputFile

BUCKETS = 64
"""Files and work lists are dealt into so many buckets, by the hashes of their keys."""

_NUMBERS = 250  # records: enough fragments to spread, few enough that a commit costs little
_MAX_FILES = 64
_MAX_BYTES = 64 * 2**20  # of the files of a fragment; a larger one is alone
_ROWS = 32  # at a second a row, as an OCR takes, half a minute is what a kill loses; see `next_ranges`


class RowRange(Config):
    """Rows `start` to `stop` of a fragment of the segment before."""

    path: str
    """Of the fragment, relative to the root and without an ending."""
    start: int
    stop: int


class Fragment(Config):
    """Records that are worked on and committed together. One of `numbers`, `files` and `rows` is given."""

    id: str
    """Names the files of the fragment; follows from the records alone."""
    numbers: tuple[int, int] | None = None
    files: tuple[InputFile, ...] = ()
    rows: RowRange | None = None

    def dump(self) -> str:
        """As JSON, for a work list."""
        return self.model_dump_json(exclude_defaults=True)


class FragmentResult(Commit):
    """What became of a fragment; its commit record."""

    id: str
    rows: int
    """In the Parquet file."""
    accounts: tuple[LedgerStep, ...] = ()
    """Of the steps of the segment, in their order."""
    content: str = ""
    """Of input files: the sum of the hashes of their keys and contents modulo 2**128, in hexadecimal."""
    text_bytes: int = 0
    """Of the texts of the samples, in UTF-8."""
    paid: dict[str, float] = Field(default_factory=dict)
    """What models on servers took, by name: `prompt_tokens`, `completion_tokens`, `price`."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of the worker's process and of all that it started, see `cpu_time`."""
    read_bytes: int = 0
    """Of input files, and of the images that rows point to."""
    written_bytes: int = 0
    """Of the files."""
    requests: int = 0
    """To the store of the root, local ones too."""
    round: int = 0
    """Of retries, in which it was made; see `retry`."""

    @property
    def has_failures(self) -> bool:
        """Whether a record of it failed."""
        return any(step.failed for step in self.accounts)


def number_fragments(start: int, stop: int) -> Iterator[Fragment]:
    """The fragments of the numbers `start` to `stop`; `start` must be the first number of a fragment."""
    for first in range(start, stop, _NUMBERS):
        last = min(first + _NUMBERS, stop)
        yield Fragment(id=f"{first:08}-{last:08}", numbers=(first, last))


def fragment_count(count: int) -> int:
    """How many fragments the numbers from 0 to `count` are."""
    return -(-count // _NUMBERS)


def next_ranges(path: str, parent: str, rows: int) -> Iterator[Fragment]:
    """The fragments of the rows of a committed fragment.

    Args:
        path: Of the fragment, relative to the root and without an ending.
        parent: Its id.
        rows: Their number.
    """
    for start in range(0, rows, _ROWS):
        stop = min(start + _ROWS, rows)
        yield Fragment(id=f"{parent}.{start:06}-{stop:06}", rows=RowRange(path=path, start=start, stop=stop))


def all_rows(path: str, fragment: str, rows: int) -> Fragment:
    """All rows of a committed fragment, for whoever reads it whole.

    Args:
        path: Of the fragment, relative to the root and without an ending.
        fragment: Its id.
        rows: Their number.
    """
    return Fragment(id=fragment, rows=RowRange(path=path, start=0, stop=rows))


def bucket_of(key: str) -> int:
    """The bucket of a key, the same on every machine."""
    return hashlib.blake2b(key.encode(), digest_size=8).digest()[0] % BUCKETS


def plan_fragments(files: Iterable[InputFile], previous: Sequence[Fragment], entry: str) -> list[Fragment]:
    """Deal the files of a bucket into fragments, which stay as they are while their files do.

    Args:
        files: In any order. A file that two patterns match counts once.
        previous: The plan of an earlier build. A fragment whose files are all unchanged is kept.
        entry: The name of the entry, for the error.

    Raises:
        UserError: Two sources name a file.
    """
    remaining: dict[str, InputFile] = {}
    for file in files:
        if remaining.setdefault(file.key, file) != file:
            raise UserError(
                f"{entry}: {file.key} belongs to two sources ({remaining[file.key].licence} and {file.licence}); "
                "make their patterns differ"
            )
    plan = []
    for fragment in previous:
        if fragment.files and all(remaining.get(file.key) == file for file in fragment.files):
            plan.append(fragment)
            for file in fragment.files:
                del remaining[file.key]
    group: list[InputFile] = []
    for key in sorted(remaining):
        file = remaining[key]
        if group and (len(group) == _MAX_FILES or sum(each.size for each in group) + file.size > _MAX_BYTES):
            plan.append(_of_files(group))
            group = []
        group.append(file)
    if group:
        plan.append(_of_files(group))
    return sorted(plan, key=lambda fragment: fragment.id)


def _of_files(files: Sequence[InputFile]) -> Fragment:
    # All fields: rows may point to the URL of a file, and name its licence.
    names = json.dumps([list(file.model_dump().values()) for file in files])
    return Fragment(id=hashlib.blake2b(names.encode(), digest_size=16).hexdigest(), files=tuple(files))


_PLAN = TypeAdapter(list[Fragment])


def _plan_path(entry: str, bucket: int) -> str:
    return f"{entry}/inputs/{bucket:02}.json"


def load_plan(store: Store, entry: str, bucket: int) -> list[Fragment]:
    """The plan of a bucket that `save_plan` left under the root; empty where there is none.

    Raises:
        StoreError: The store does not answer.
    """
    try:
        return _PLAN.validate_json(store.read_all(_plan_path(entry, bucket)))
    except (FileNotFoundError, ValueError):  # none yet, or one of another version: all files are dealt afresh
        return []


def save_plan(store: Store, entry: str, bucket: int, plan: Sequence[Fragment]) -> None:
    """Keep the plan of a bucket for the next build. Raises StoreError."""
    store.put(_plan_path(entry, bucket), _PLAN.dump_json(list(plan)))
