"""Rows in parts on disk: nothing is lost, and what belongs together is in one part."""

import uuid

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.dataset import partitions
from step3vl.data.dataset.partitions import ID, Partitions, ids_of, without_repeats

words = st.integers(0, 2**64 - 1)


@given(st.lists(st.lists(words, max_size=20), max_size=8), st.integers(1, 5), st.integers(0, 300))
def test_every_row_is_in_the_part_of_its_number(batches: list[list[int]], count: int, buffer: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitions, "_BUFFER", buffer)  # bytes, so that some batches are written at once and some wait
        with Partitions(ID, count) as parts:
            for batch in batches:
                rows = np.zeros(len(batch), ID)
                rows["low"] = batch
                parts.add(rows, rows["low"])
            seen = [part["low"].tolist() for part in parts]
            assert all(len({value % count for value in part}) == 1 for part in seen)
            values = [value for batch in batches for value in batch]
            remainders = sorted({value % count for value in values})
            assert seen == [[value for value in values if value % count == remainder] for remainder in remainders]


def test_the_number_of_parts_follows_the_rows_and_the_folder_is_removed() -> None:
    assert [Partitions.for_rows(ID, rows).count for rows in (0, 1, partitions.PART, partitions.PART + 1)] == [
        1,
        1,
        1,
        2,
    ]
    with Partitions(ID, 2) as parts:
        rows = np.zeros(3, ID)
        parts.add(rows, rows["low"])
        (part,) = parts
        folder = parts.folder
        assert len(part) == 3 and any(folder.iterdir())
    assert not folder.exists()


@given(st.lists(st.uuids(), max_size=20))
def test_ids_sort_like_their_digits(ids: list[uuid.UUID]) -> None:
    digits = [each.hex for each in ids]
    rows = ids_of(pa.chunked_array([digits], pa.string()))
    assert [f"{high:016x}{low:016x}" for high, low in rows.tolist()] == digits
    order = np.lexsort((rows["low"], rows["high"]))
    assert [digits[place] for place in order] == sorted(digits)
    ranked = rows[order]
    assert without_repeats(ranked).sum() == len(set(digits))


@pytest.mark.parametrize("text", ["", "ab", "0" * 31, "0" * 34, "g" * 32])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        ids_of(pa.array([text]))
