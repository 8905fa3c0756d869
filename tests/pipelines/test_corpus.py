"""The whole build, on the real runner: bytes, ledger, resuming, and what it says about bad input."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from step3vl.data.dataset import Dataset, read_dead_letters
from step3vl.data.errors import UserError
from step3vl.data.inspect import verify
from step3vl.pipelines.core.fragments import Fragment, FragmentResult
from step3vl.pipelines.core.runner import SegmentRunner
from step3vl.pipelines.corpus import CorpusConfig, build_corpus

pytestmark = pytest.mark.slow

TASKS = {"counting.icons": 1, "grounding.point": 1, "grounding.box": 1, "grounding.region": 1, "grounding.colour": 1}
CONFIG: dict[str, Any] = {
    "name": "t",
    "seed": 3,
    "shards": 2,
    "heldout": 0.2,
    "tokens": {
        "tokenizer": {"train": 400},
        "image": {"image_size": 112, "crop_size": 84, "patch_size": 7, "max_side": 448},
    },
    "domains": [
        {"domain": "grounding", "name": "icons", "count": 60, "tasks": TASKS, "image_size": [112, 112], "icons": 6},
        {
            "domain": "ocr.image_to_text",
            "name": "digits",
            "kind": "document",
            "count": 40,
            "text": "digits",
            "characters": [1, 1],
            "width": [64, 64],
            "height": [64, 64],
            "font_size": [20, 40],
            "backgrounds": ["plain"],
        },
        {"domain": "maps", "name": "maps", "count": 4, "image_size": [112, 112]},
        {
            "domain": "education",
            "name": "sums",
            "count": 20,
            "families": {"mathgenerator.addition": {}},
            "modality": "text",
        },
    ],
}


def config(**changes: Any) -> CorpusConfig:
    return CorpusConfig.model_validate({**CONFIG, **changes})


def tree(root: Path) -> dict[str, bytes]:
    """Every file of a dataset; what its build keeps to be reused is no part of it."""
    paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
    relative = {str(path.relative_to(root)): path for path in paths}
    return {name: path.read_bytes() for name, path in relative.items() if not name.startswith(".staging/")}


class Recorder:
    """A watch that keeps what it is told."""

    def __init__(self) -> None:
        self.totals: dict[str, int | None] = {}
        self.folders: dict[str, str] = {}
        self.ended: list[str] = []

    def segment_started(self, name: str, folder: str, total: int | None) -> None:
        self.totals[name], self.folders[name] = total, folder

    def segment_ended(self, name: str) -> None:
        self.ended.append(name)


@pytest.fixture(scope="module")
def watch() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, watch: Recorder) -> Path:
    out = tmp_path_factory.mktemp("corpus") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(__file__).parents[2])
        build_corpus(config(), out, watch=watch)
    return out


def test_whoever_watches_is_told_of_every_segment_and_of_its_fragments(built: Path, watch: Recorder) -> None:
    names = ("icons", "digits", "maps", "sums")
    expected = {f"{name}.{part}": 1 for name in names for part in ("build", "tokens")}
    assert watch.totals == {**expected, "shards": None}
    assert set(watch.ended) == set(watch.totals)
    for name, folder in watch.folders.items():
        assert len(list((built / ".staging" / folder).glob("*.json"))) >= (watch.totals[name] or 1)


def test_the_ledger_adds_up_to_the_samples(built: Path) -> None:
    dataset = Dataset.open(built)
    accounts = {step.name: step for step in dataset.manifest.ledger}
    assert accounts["icons.build"].read == 60
    assert accounts["digits.build"].kept == 40
    assert all(step.balance == 0 for step in dataset.manifest.ledger)
    samples = list(dataset.samples())
    assert len(samples) == accounts["shards"].kept
    assert accounts["tokens"].read == sum(step.kept for name, step in accounts.items() if name.endswith(".build"))
    assert len({sample.id for sample in samples}) == len(samples)
    dead_letters = list(read_dead_letters(built))
    not_kept = sum(step.read - step.kept for name, step in accounts.items() if name != "shards")
    assert len(dead_letters) == not_kept


def test_the_dataset_is_complete(built: Path) -> None:
    dataset = Dataset.open(built)
    assert verify(built).problems == ()
    assert {task.split for task in dataset.manifest.tasks} == {"train", "heldout"}
    for sample in dataset.samples():
        assert all(image.open().width == image.width for image in sample.images)
        assert sample.tokens is not None and sample.tokens.text > 0
        assert (sample.tokens.image > 0) == bool(sample.images)
    assert (built / "tokenizer" / "tokenizer.json").is_file()


def test_the_card_and_the_contact_sheet_are_written(built: Path) -> None:
    card = (built / "card.md").read_text()
    for word in ("icons.build", "CC0-1.0", "counting.icons", "ambiguous"):
        assert word in card
    assert "<table>" in (built / "card.html").read_text()
    assert (built / "contact_sheet.png").stat().st_size > 10_000


def test_a_root_elsewhere_changes_no_byte(built: Path, tmp_path: Path) -> None:
    build_corpus(config(models={"workers": 5}, root=str(tmp_path / "elsewhere")), tmp_path / "out")
    assert tree(tmp_path / "out") == tree(built)
    assert not (tmp_path / "out" / ".staging").exists()


def test_another_seed_gives_other_samples(built: Path, tmp_path: Path) -> None:
    build_corpus(config(seed=4), tmp_path / "out")
    ids = [set(Dataset.open(out).index(["id"])["id"].to_pylist()) for out in (built, tmp_path / "out")]
    assert len(ids[0] & ids[1]) < len(ids[0]) / 2


def test_a_build_that_is_killed_is_resumed_and_ends_with_the_same_bytes(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    script = (
        "import json, sys; from pathlib import Path; from step3vl.pipelines.corpus import CorpusConfig, build_corpus\n"
        "build_corpus(CorpusConfig.model_validate(json.loads(Path(sys.argv[1]).read_text())), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "config.json"), str(out)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    deadline = time.monotonic() + 200
    while not (done := list(out.glob(".staging/*/build-*/*.json"))) and time.monotonic() < deadline:
        assert process.poll() is None, "the build ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert done and not (out / "dataset.json").exists()
    with pytest.raises(UserError, match="nothing was committed"):
        Dataset.open(out)
    done = sorted(out.glob(".staging/*/build-*/*.json"))
    worked = record_work(monkeypatch)
    build_corpus(config(), out)
    assert sorted(worked) == sorted({"icons", "digits", "maps", "sums"} - {path.parts[-3] for path in done})
    assert tree(out) == tree(built)


def record_work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The entries of the fragments that are worked on from now on, in this process."""
    worked: list[str] = []
    work = SegmentRunner._work

    def counted(runner: SegmentRunner, fragment: Fragment, *arguments: str) -> FragmentResult:
        worked.append(runner._segment.entry.name)
        return work(runner, fragment, *arguments)

    monkeypatch.setattr(SegmentRunner, "_work", counted)
    return worked


def test_a_finished_dataset_is_opened_and_never_replaced(built: Path, tmp_path: Path) -> None:
    before = (built / "dataset.json").stat().st_mtime_ns, tree(built)
    build_corpus(config(models={"workers": 7}), built)
    for changed, field in (
        (config(shards=1), "shards: 2 -> 1"),
        (config(domains=CONFIG["domains"][1:]), "domains.icons is gone"),
    ):
        with pytest.raises(UserError, match=rf"finished dataset, which differs in {re.escape(field)};.*--force"):
            build_corpus(changed, built)
    assert ((built / "dataset.json").stat().st_mtime_ns, tree(built)) == before


def test_a_new_comment_in_the_code_changes_nothing(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("step3vl.pipelines.corpus.code_version", lambda *_: "another")
    before = (built / "dataset.json").stat().st_mtime_ns
    build_corpus(config(), built)
    assert (built / "dataset.json").stat().st_mtime_ns == before


def test_an_entry_all_of_whose_records_fail_ends_the_build_with_its_first_error(tmp_path: Path) -> None:
    entry = {**CONFIG["domains"][3], "families": {"mathgenerator.addition": {"nonsense": 1}}}
    with pytest.raises(UserError, match=r"sums\.build: all 20 records failed.*nonsense.*raise failure_budget"):
        build_corpus(config(domains=[entry]), tmp_path / "out")
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_an_entry_without_samples_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.txt").write_text("too short")
    text = {"domain": "text", "name": "prose", "sources": [{"files": [str(tmp_path / "a.txt")], "licence": "CC0-1.0"}]}
    build_corpus(config(domains=[CONFIG["domains"][3], text]), tmp_path / "out")
    assert [record.message for record in caplog.records if "no sample" in record.message] == [
        "prose emitted no sample; the ledger says what became of its records"
    ]


def test_a_folder_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "mine").write_text("precious")
    with pytest.raises(UserError, match="shards"):
        build_corpus(config(), tmp_path)
    assert (tmp_path / "shards" / "mine").read_text() == "precious"
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file"):
        build_corpus(config(), tmp_path / "file")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sharts": 3}, "sharts"),
        ({"domains": [{**CONFIG["domains"][0], "iconz": 3}]}, "iconz"),
        ({"domains": [{**CONFIG["domains"][0], "domain": "grounds"}]}, "grounds"),
        ({"domains": [CONFIG["domains"][0], CONFIG["domains"][0]]}, "two entries are named 'icons'"),
        ({"heldout": 1.5}, "heldout"),
        ({"workers": 2}, "'workers' is now 'models.workers'"),
        ({"fraction": 0}, "fraction"),
        ({"domains": [{**CONFIG["domains"][0], "veil": [0, 1]}]}, "'veil' is now 'opacity'"),  # words: RENAMED
        ({"domains": [{**CONFIG["domains"][1], "font": [20, 40]}]}, "'font' is now 'font_size'"),
        ({"domains": [{**CONFIG["domains"][2], "picture": 9}]}, "is now 'image_size'"),  # words: RENAMED
        ({"domains": [{**CONFIG["domains"][3], "form": "text"}]}, "'form' is now 'modality'"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        config(**changes)
