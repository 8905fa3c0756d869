"""A committed set of shards with its manifest, index, ledger and dead letters."""

from step3vl.data.dataset.dataset import DamagedSample, Dataset
from step3vl.data.dataset.dead_letters import (
    DEAD_LETTERS,
    DEAD_LETTERS_FOLDER,
    DeadLetterWriter,
    dead_letter_part,
    example_dead_letters,
    read_dead_letter_file,
    read_dead_letters,
    write_dead_letters,
)
from step3vl.data.dataset.exclusions import EXCLUSIONS, FORGOTTEN, Exclusion, Exclusions, add_exclusion
from step3vl.data.dataset.index import INDEX_VERSION, SCHEMA
from step3vl.data.dataset.ledger import DROPPED, AnswerTokens, DeadLetter, Ledger, LedgerStep
from step3vl.data.dataset.manifest import MANIFEST, MANIFEST_VERSION, Counting, Manifest, ShardInfo, Split, TaskTotal
from step3vl.data.dataset.provenance import code_version
from step3vl.data.dataset.reader_files import READERS, write_reader_files
from step3vl.data.dataset.row_filter import FILTER_COLUMNS, RowFilter
from step3vl.data.dataset.sharding import ShardTarget, archived_size, shard_name, shard_of, split_of
from step3vl.data.dataset.sorter import (
    DUPLICATE,
    SHARDS_STEP,
    SampleSorter,
    WrittenShards,
    duplicate_rank,
)
from step3vl.data.dataset.writer import WrittenShard, commit, require_samples, write_shard

__all__ = [
    "DEAD_LETTERS",
    "DEAD_LETTERS_FOLDER",
    "DROPPED",
    "DUPLICATE",
    "EXCLUSIONS",
    "FILTER_COLUMNS",
    "FORGOTTEN",
    "INDEX_VERSION",
    "MANIFEST",
    "MANIFEST_VERSION",
    "READERS",
    "SCHEMA",
    "SHARDS_STEP",
    "AnswerTokens",
    "Counting",
    "DamagedSample",
    "Dataset",
    "DeadLetter",
    "DeadLetterWriter",
    "Exclusion",
    "Exclusions",
    "Ledger",
    "LedgerStep",
    "Manifest",
    "RowFilter",
    "SampleSorter",
    "ShardInfo",
    "ShardTarget",
    "Split",
    "TaskTotal",
    "WrittenShard",
    "WrittenShards",
    "add_exclusion",
    "archived_size",
    "code_version",
    "commit",
    "dead_letter_part",
    "duplicate_rank",
    "example_dead_letters",
    "read_dead_letter_file",
    "read_dead_letters",
    "require_samples",
    "shard_name",
    "shard_of",
    "split_of",
    "write_dead_letters",
    "write_reader_files",
    "write_shard",
]
