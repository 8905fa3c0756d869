"""A curation with filters from end to end: planted faults, masked personal data, requests to forget, the account."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image as PILImage

from step3vl.data.dataset import Dataset, read_dead_letters
from step3vl.data.errors import UserError
from step3vl.data.inspect import verify
from step3vl.data.sample import Sample
from step3vl.pipelines.curation.account import FAILED, KEPT, LOST, account
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.curation.curate import curate
from step3vl.pipelines.curation.explain import explain
from step3vl.pipelines.curation.forget import forget

FILTERS = {
    "*": {"answer": {}, "formatting": {}, "blank": {}, "nsfw": {}, "personal_data": {}},
    "text": {"text": {"characters": [10, 100_000]}},
}


def png(colour: str | int, size: tuple[int, int] = (80, 60)) -> bytes:
    image = PILImage.new("RGB", size, colour) if isinstance(colour, str) else noise(colour, size)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def noise(seed: int, size: tuple[int, int]) -> PILImage.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return PILImage.fromarray(values)


PORTRAIT = png(7)
LOCATED = json.dumps([{"bbox_2d": [100, 100, 500, 300], "text": "jo@mail.com"}])


class Filtered(NamedTuple):
    """A dataset, and what a curation with filters made of it. `ids` has the id of each sample by its name."""

    dataset: Dataset
    curated: Dataset
    ids: dict[str, str]

    def row(self, name: str) -> dict[str, Any]:
        """The evidence of a sample."""
        table = pq.read_table(f"{self.curated.url}/evidence").to_pylist()
        (row,) = [row for row in table if row["id"] == self.ids[name]]
        return dict(row)


@pytest.fixture(scope="module")
def filtered(
    tmp_path_factory: pytest.TempPathFactory,
    document: Callable[..., Sample],
    dialogue: Callable[..., Sample],
    build: Callable[..., Dataset],
) -> Filtered:
    root = tmp_path_factory.mktemp("filtered")
    samples = {
        "good": document("A text about the weather in the mountains.", uri="good"),
        "copy": document("A text about the Weather in the mountains.", uri="copy"),
        "short": document("Too few.", uri="short"),
        "unclosed": document("Some code follows here: \n```python\nprint(1)", uri="unclosed"),
        "blind": dialogue("What is it?", "As an AI language model, I have no eyes.", [png(1)]),
        "blank": dialogue("What is to be seen?", "Nothing at all.", [png("white")]),
        "seen": dialogue("What is to be seen here?", "Noise.", [png(2)]),
        "mail": document("Write to jo.doe@mail.com or call +1 650-253-0000 at noon.", uri="mail"),
        "located": dialogue("Find all texts.", LOCATED, [png(3)]),
        "unlocated": dialogue("Read the text.", "It says jo@mail.com", [png(4)]),
        "site": document("A text of a site that must be forgotten.", uri="https://www.gone.example/page#3"),
        "portrait": dialogue("Who is it?", "Somebody.", [PORTRAIT]),
    }
    dataset = build(root / "dataset", list(samples.values()))
    forget(dataset, ["gone.example", hashlib.sha256(PORTRAIT).hexdigest()])
    config = CurationConfig.model_validate({"near": None, "images": None, "filters": FILTERS})
    curated = curate([dataset.url], root / "curated", config)
    return Filtered(Dataset.open(dataset.url), curated, {name: sample.id for name, sample in samples.items()})


def test_each_planted_fault_is_dropped_for_its_reason_and_counted(filtered: Filtered) -> None:
    steps = {step.name: step for step in filtered.curated.manifest.ledger}
    assert steps["curate.read"].dropped == {"forgotten": 2}
    assert steps["curate.filter"].dropped == {
        "too_short": 1, "unclosed_code": 1, "blind_answer": 1, "blank_image": 1, "personal_data": 1,
    }  # fmt: skip
    assert steps["curate.exact"].dropped == {"duplicate": 1}
    kept = {sample.source.uri for sample in filtered.curated.samples()}
    assert kept == {"good", "mail", "test:dialogue"}
    assert steps["curate.shards"].kept == 4
    assert verify(filtered.curated.url).problems == ()
    letters = {(letter.source, letter.reason) for letter in read_dead_letters(filtered.curated.url)}
    assert (filtered.ids["short"], "too_short") in letters
    assert len(letters) == 2 + 5 + 1


def test_the_evidence_has_what_was_measured(filtered: Filtered) -> None:
    row = filtered.row("blank")
    assert (row["step"], row["reason"], row["value"], row["limit"]) == ("curate.filter", "blank_image", 0, 16)
    assert row["detail"] == "image 0"
    assert filtered.row("short")["limit"] == 10


def test_personal_data_are_masked_in_texts_and_in_the_image_where_their_place_is_known(filtered: Filtered) -> None:
    samples = {sample.id: sample for sample in filtered.curated.samples()}
    mail = samples[filtered.row("mail")["matched_id"]]
    assert mail.last_text() == "Write to [EMAIL] or call [PHONE] at noon."
    assert mail.source.parents == (filtered.ids["mail"],)
    assert mail.id == mail.content_id()
    assert mail.tokens is not None
    located = samples[filtered.row("located")["matched_id"]]
    assert json.loads(located.answer())[0]["text"] == "[EMAIL]"
    pixels, before = np.asarray(located.images[0].open()), np.asarray(noise(3, (80, 60)))
    assert np.all(pixels[8:16, 10:38] == 128)
    assert np.array_equal(pixels[:, 50:], before[:, 50:])
    assert filtered.row("mail")["detail"] == "EMAIL 1, PHONE 1"


def test_scores_that_filters_measured_are_kept(filtered: Filtered) -> None:
    seen = next(sample for sample in filtered.curated.samples() if sample.id == filtered.ids["seen"])
    assert 0 <= seen.scores["nsfw"] <= 0.5


def test_what_was_forgotten_is_in_no_shard_of_the_curated_dataset(filtered: Filtered) -> None:
    for shard in filtered.curated.manifest.shards:
        with tarfile.open(f"{filtered.curated.url}/{shard.path}") as tar:
            for member in tar:
                content = tar.extractfile(member)
                assert content is not None
                data = content.read()
                assert b"gone.example" not in data
                assert data != PORTRAIT


def test_explain_follows_what_decided(filtered: Filtered) -> None:
    def outcomes(name: str) -> list[tuple[str, str, str]]:
        steps = explain(filtered.curated, filtered.ids[name])
        return [(step.step, step.outcome, step.reason) for step in steps]

    assert outcomes("blank") == [("curate.read", "passed", ""), ("curate.filter", "dropped", "blank_image")]
    assert outcomes("good")[-1] == ("", "kept", "")
    twin = {outcomes(name)[2] for name in ("good", "copy")}  # of two equal ones, one is kept
    assert ("curate.exact", "dropped", "duplicate") in twin
    assert outcomes("mail")[1] == ("curate.filter", "masked", "masked")
    assert outcomes("mail")[-1] == ("", "kept", "")
    assert outcomes("site") == [("curate.read", "dropped", "forgotten")]
    with pytest.raises(UserError, match="no evidence or dead letter names it"):
        explain(filtered.curated, "0" * 32)


def test_explain_is_about_the_last_of_several_curations(filtered: Filtered, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = filtered.curated.manifest
    before = [step for step in manifest.ledger if step.name in ("curate.read", "curate.shards")]
    again = manifest.model_copy(update={"ledger": (*before, *manifest.ledger)})
    steps = explain(filtered.curated, filtered.ids["good"])
    monkeypatch.setattr(filtered.curated, "manifest", again)
    assert explain(filtered.curated, filtered.ids["good"]) == steps


@pytest.mark.parametrize("by", ["domain", "task", "source", "split"])
def test_every_sample_and_token_is_accounted_for(filtered: Filtered, by: Any) -> None:
    groups = account(filtered.curated, by)
    assert sum(group.samples.total() for group in groups) == len(filtered.ids)
    assert sum(group.samples[KEPT] for group in groups) == len(list(filtered.curated.samples())) == 4
    assert sum(group.samples[LOST] + group.samples[FAILED] for group in groups) == 0
    assert sum(group.tokens.total() for group in groups) == 9 * len(filtered.ids)
    if by == "domain":
        assert [group.name for group in groups] == ["text", "vqa"]


def test_a_sample_of_which_no_file_tells_is_unaccounted_for(filtered: Filtered, tmp_path: Path) -> None:
    for part in Path(filtered.curated.url, "evidence").glob("*.parquet"):
        table = pq.read_table(part)
        (tmp_path / part.name).write_bytes(part.read_bytes())
        pq.write_table(table.filter(np.array(table["reason"].to_pylist()) != "blank_image"), part)
    try:
        assert sum(group.samples[LOST] for group in account(filtered.curated, "task")) == 1
    finally:
        for part in tmp_path.glob("*.parquet"):
            Path(filtered.curated.url, "evidence", part.name).write_bytes(part.read_bytes())


def test_the_account_of_a_dataset_that_was_not_curated_is_refused(filtered: Filtered) -> None:
    with pytest.raises(UserError, match="was not curated"):
        account(filtered.dataset, "task")
