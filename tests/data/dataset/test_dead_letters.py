"""The dead-letter table: streamed, counted and read back."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from step3vl.data.dataset.dead_letters import (
    DEAD_LETTERS,
    DeadLetterWriter,
    dead_letter_part,
    example_dead_letters,
    read_dead_letters,
    write_dead_letters,
)
from step3vl.data.dataset.ledger import DROPPED, DeadLetter, LedgerStep
from step3vl.data.sample.crops import ImageSpec
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import DEFAULT_STORE


def rows(count: int, error: str = "ValueError", step: str = "read") -> list[DeadLetter]:
    return [DeadLetter(step=step, error=error, reason=f"reason {n}", source=f"file#{n}") for n in range(count)]


@pytest.mark.parametrize("scheme", ["local", "memory"])
def test_table_is_read_back_across_batches_and_parts(tmp_path: Path, scheme: str) -> None:
    root = {"local": str(tmp_path), "memory": "memory://failed"}[scheme]
    store = Store(root, DEFAULT_STORE)
    written = rows(25_000)
    assert write_dead_letters(store, DEAD_LETTERS, iter(written)) == len(written)
    assert list(read_dead_letters(root)) == written
    store.remove(DEAD_LETTERS)
    for number, part in enumerate((written[:10], [], written[10:20])):
        write_dead_letters(store, dead_letter_part(number, 3), part)
    assert list(read_dead_letters(root)) == written[:20]
    assert sorted(store.names("dead_letters")) == [f"0000{number}-of-00003.parquet" for number in range(3)]


def test_ledger_step_counts_by_error(tmp_path: Path) -> None:
    with DeadLetterWriter(tmp_path / "table.parquet") as writer:
        for row in [*rows(3), *rows(2, "OSError"), *rows(1, step="other")]:
            writer.add(row)
        assert writer.ledger_step("read", kept=10) == LedgerStep(
            name="read", read=15, kept=10, failed={"OSError": 2, "ValueError": 3}
        )
    assert writer.first == rows(1)[0]


def test_empty_table_is_written_by_a_build_and_not_by_a_converter(tmp_path: Path) -> None:
    with DeadLetterWriter(tmp_path / "absent.parquet"):
        pass
    assert list(tmp_path.iterdir()) == []
    assert list(read_dead_letters(tmp_path)) == []
    assert list(read_dead_letters(tmp_path / "absent")) == []
    assert write_dead_letters(Store(str(tmp_path), DEFAULT_STORE), DEAD_LETTERS, []) == 0
    assert (tmp_path / DEAD_LETTERS).is_file()
    assert list(read_dead_letters(tmp_path)) == []


def test_failed_writer_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), DeadLetterWriter(tmp_path / "table.parquet") as writer:
        for row in rows(10_001):
            writer.add(row)
        raise RuntimeError("the source broke")
    assert list(tmp_path.iterdir()) == []


def test_examples_are_limited_by_reason_for_drops_and_by_type_for_errors() -> None:
    dropped = [DeadLetter(step="read", error=DROPPED, reason=f"too {n % 2}", source="x") for n in range(10)]
    examples = example_dead_letters([*rows(10), *dropped])
    assert [(row.error, row.reason) for row in examples] == [
        ("ValueError", "reason 0"),
        ("ValueError", "reason 1"),
        ("ValueError", "reason 2"),
        *[(DROPPED, "too 0"), (DROPPED, "too 1")] * 3,
    ]


def test_error_becomes_one_line_of_bounded_length() -> None:
    with pytest.raises(ValidationError) as refused:
        ImageSpec(crop_size=0)
    row = DeadLetter.from_error(refused.value, step="read", source="file#1")
    assert (row.error, row.reason) == ("ValidationError", "crop_size: Input should be greater than 0; found 0")
    assert len(DeadLetter.from_error(OSError("x" * 5000), step="read", source="file#1").reason) == 1000
