"""What makes a finished dataset out of date, and what does not."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.dataset import MANIFEST, Counting, Manifest
from step3vl.data.sample import ImageSpec
from step3vl.pipelines.core.segment import digest
from step3vl.pipelines.corpus import CorpusConfig
from step3vl.pipelines.domains import DOMAINS
from step3vl.pipelines.provenance import changes, read_provenance, versions

EDUCATION = {"domain": "education", "name": "sums", "count": 5, "families": {"chain_sum": {}}}
GROUNDING = {"domain": "grounding", "name": "icons", "count": 5, "tasks": {"grounding.point": 1}, "icons": ["star"]}


def config(**fields: Any) -> CorpusConfig:
    return CorpusConfig.model_validate({"name": "t", "domains": [EDUCATION, GROUNDING], **fields})


def finish(out: Path, record: dict[str, Any]) -> None:
    counting = Counting(tokenizer="qwen3", tokenizer_sha256="0" * 64, image=ImageSpec())
    manifest = Manifest(name="t", shards=(), tasks=(), ledger=(), counting=counting, config=record, code_version="x")
    (out / MANIFEST).write_text(manifest.model_dump_json())


def test_nothing_has_changed_without_a_dataset_or_with_the_same_one(tmp_path: Path) -> None:
    assert changes(config(), tmp_path) == []
    finish(tmp_path, read_provenance(config(), tmp_path).record())
    assert changes(config(), tmp_path) == []
    assert changes(config(models={"workers": 9}, failure_budget=1), tmp_path) == []
    assert changes(config(domains=[GROUNDING, EDUCATION]), tmp_path) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"seed": 1}, ["seed: 0 -> 1"]),
        (
            {"tokens": {"tokenizer": {"train": 300, "sample": 9}}},
            ["tokens.tokenizer: qwen3 -> {'train': 300, 'sample': 9}"],
        ),
        ({"domains": [GROUNDING]}, ["domains.sums is gone"]),
        ({"domains": [{**EDUCATION, "count": 6}, GROUNDING]}, ["domains.sums.count: 5 -> 6"]),
        (
            {"domains": [EDUCATION, {**GROUNDING, "icons": ["key"]}]},
            ["domains.icons.icons: ['star'] -> ['key']"],
        ),
    ],
)
def test_every_changed_field_is_listed(tmp_path: Path, fields: dict[str, Any], expected: list[str]) -> None:
    finish(tmp_path, read_provenance(config(), tmp_path).record())
    assert changes(config(**fields), tmp_path) == expected


def test_a_new_version_of_a_step_is_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(tmp_path, read_provenance(config(), tmp_path).record())
    (step,) = DOMAINS["education"].steps
    domain = replace(DOMAINS["education"], steps=(replace(step, version=step.version + 1),))
    monkeypatch.setitem(DOMAINS, "education", domain)
    assert changes(config(), tmp_path) == [f"version of education/build: {step.version} -> {step.version + 1}"]


def test_a_changed_asset_is_a_change(tmp_path: Path) -> None:
    icon = tmp_path / "star.svg"
    icon.write_bytes(Path("data/step3vl/data/assets/icons/star.svg").read_bytes())
    entry = {**GROUNDING, "icon_files": [str(icon)]}
    finish(tmp_path, read_provenance(config(domains=[entry]), tmp_path).record())
    icon.write_bytes(Path("data/step3vl/data/assets/icons/key.svg").read_bytes())
    assert changes(config(domains=[entry]), tmp_path) == ["the assets of domains.icons"]


def test_a_changed_input_file_is_a_change_and_a_touched_one_is_not(tmp_path: Path) -> None:
    page = tmp_path / "in" / "page.pdf"
    page.parent.mkdir()
    page.write_bytes(b"one page")
    entry = {
        "domain": "ocr.document_to_text",
        "name": "pages",
        "sources": [{"files": [str(page.parent / "*")], "licence": "CC0-1.0"}],
    }
    corpus = config(domains=[entry])
    finish(tmp_path, read_provenance(corpus, tmp_path).record())
    assert changes(corpus, tmp_path) == []
    os.utime(page, (1, 1))
    assert changes(corpus, tmp_path) == []
    shutil.rmtree(tmp_path / ".staging")
    assert changes(corpus, tmp_path) == [], "also when nothing is known of earlier listings"
    page.write_bytes(b"two page")
    assert changes(corpus, tmp_path) == ["the input files of domains.pages"]


def test_the_record_of_an_earlier_release_is_read_with_its_old_names(tmp_path: Path) -> None:
    record = config().content() | {"fingerprint": "of the code too"}
    education, grounding = record["domains"]
    education["form"], education["picture"], education["font"] = (  # words: RENAMED
        "picture",  # words: RENAMED
        education.pop("image_size"),
        education.pop("font_size"),
    )
    del education["modality"]
    grounding["veil"] = grounding.pop("opacity")  # words: RENAMED
    finish(tmp_path, record)
    assert changes(config(), tmp_path) == []
    assert changes(config(seed=2), tmp_path) == ["seed: 0 -> 2"]


def test_a_damaged_manifest_counts_as_finished(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{")
    (line,) = changes(config(), tmp_path)
    assert "damaged" in line


def test_the_versions_cover_the_sink_and_every_step_of_the_domains() -> None:
    sources = [{"files": ["*"], "licence": "CC0-1.0"}]
    documents = {"domain": "ocr.document_to_text", "name": "pages", "sources": sources}
    names = versions(config(domains=[documents, EDUCATION]))
    steps = {f"ocr.document_to_text/{name}" for name in ("open", "render", "read", "split", "build")}
    assert set(names) == {"sink", "education/build", *steps}


def test_another_order_of_keys_is_a_change_because_random_choices_follow_it(tmp_path: Path) -> None:
    tasks = {"grounding.point": 1, "grounding.box": 1}
    before = config(domains=[{**GROUNDING, "tasks": tasks}])
    after = config(domains=[{**GROUNDING, "tasks": dict(reversed(tasks.items()))}])
    finish(tmp_path, read_provenance(before, tmp_path).record())
    assert changes(before, tmp_path) == []
    assert changes(after, tmp_path) == ["domains.icons.tasks: the order of its keys"]
    assert digest(before.content()) != digest(after.content())
