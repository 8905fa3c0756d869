"""Versions of the manifest: older ones are read, newer ones are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.sample.sample import Sample


@pytest.fixture
def manifest(tmp_path: Path, build_dataset: Callable[..., Dataset], make_sample: Callable[..., Sample]) -> Path:
    return Path(build_dataset(tmp_path / "set", [make_sample(1)]).url) / "dataset.json"


def change(manifest: Path, **fields: Any) -> Dataset:
    content = json.loads(manifest.read_text()) | fields
    manifest.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
    return Dataset.open(manifest.parent)


def test_format_1_is_read(manifest: Path) -> None:
    step = {"name": "build", "read": 3, "kept": 1, "dropped": {"small": 1}, "dead": {"OSError": 1}}
    opened = change(
        manifest, format="step3vl-dataset-1", ledger=[step], sample_version=None, index_version=None
    ).manifest
    assert opened.ledger[0].failed == {"OSError": 1}
    assert (opened.sample_version, opened.index_version) == (1, 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "step3vl-dataset-4"}, "the manifest format has version 4; this step3vl reads up to 3"),
        ({"sample_version": 2}, "the sample format has version 2; this step3vl reads up to 1"),
        ({"index_version": 7}, "the index format has version 7; this step3vl reads up to 1"),
        ({"format": "other"}, "'other' is not a known format"),
    ],
)
def test_newer_versions_are_refused(manifest: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        change(manifest, **fields, unknown_field=1 if "version" in message else None)


def test_newer_sample_is_refused(make_sample: Callable[..., Sample]) -> None:
    with pytest.raises(ValueError, match="the row has version 2; this step3vl reads up to 1"):
        Sample.from_row({**make_sample(1).to_row(), "version": 2})
    assert "version" not in make_sample(1).to_row()
