"""Versions of the cursor of a plan."""

import pytest
from pydantic import ValidationError

from step3vl.data.plan.plan import CURSOR_VERSION, Cursor
from step3vl.data.plan.stream import StreamState


def test_cursor_of_version_1_is_read() -> None:
    fields = {"packs": 7, "streams": [{"epoch": 1, "packs": 7}]}
    earlier = {"stretch": 1, "stretch_packs": 3, "stretch_tokens": 40, "drawn": [5]}  # words: fields of version 1
    assert Cursor.model_validate({**fields, **earlier}) == Cursor(
        packs=7,
        phase=1,
        phase_packs=3,
        phase_tokens=40,
        source_tokens=(5,),
        streams=(StreamState(positions=((1, 0, 0),), packs=7),),
    )


def test_cursor_of_version_2_has_a_single_partition() -> None:
    stream = {"epoch": 2, "block": 33, "pack": 868, "packs": 9, "samples": 20, "tokens": 50, "oversized": 1}
    cursor = Cursor.model_validate({"version": 2, "packs": 9, "source_tokens": [50], "streams": [stream]})
    assert (cursor.version, cursor.partitions) == (CURSOR_VERSION, 1)
    assert cursor.streams[0].positions == ((2, 33, 868),) and cursor.streams[0].samples == 20


def test_newer_cursor_is_refused() -> None:
    cursor = Cursor(source_tokens=(), streams=())
    assert cursor.model_dump()["version"] == CURSOR_VERSION == 3
    with pytest.raises(ValidationError, match="has version 4; this step3vl reads up to 3"):
        Cursor.model_validate({**cursor.model_dump(), "version": 4})
