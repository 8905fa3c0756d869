"""Builds on a machine that fails: nothing wrong is committed, and the next build heals what was lost."""

import errno
import logging
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.dataset import Dataset
from step3vl.data.errors import InfrastructureError, UserError
from step3vl.pipelines import corpus
from step3vl.pipelines.corpus import CorpusConfig, build_corpus

ENTRY = {"domain": "grounding", "name": "icons", "count": 12, "tasks": {"grounding.point": 1}, "icons": ["star"]}
SMALL = {"image_size": [64, 64], "background": "plain"}


def config(**entry: Any) -> CorpusConfig:
    tokens = {
        "tokenizer": {"train": 400},
        "image": {"image_size": 112, "crop_size": 84, "patch_size": 7, "max_side": 448},
    }
    return CorpusConfig.model_validate(
        {"name": "t", "shards": 1, "heldout": 0, "tokens": tokens, "domains": [{**ENTRY, **SMALL, **entry}]}
    )


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.slow
def test_a_lost_part_ends_the_build_and_the_next_build_makes_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    out, sound = tmp_path / "out", tmp_path / "sound"
    build_corpus(config(), sound)
    train_bpe = corpus.train_bpe

    def lose(*arguments: Any) -> Any:
        for path in out.glob(".staging/icons/build-*/*.bin"):
            path.unlink()
        return train_bpe(*arguments)

    monkeypatch.setattr(corpus, "train_bpe", lose)
    with pytest.raises(InfrastructureError, match=r"00000000-00000012\.bin.*run the same command again"):
        build_corpus(config(), out)
    with pytest.raises(UserError, match="nothing was committed"):
        Dataset.open(out)
    monkeypatch.setattr(corpus, "train_bpe", train_bpe)
    caplog.set_level(logging.INFO)
    build_corpus(config(), out)
    assert "was lost" in caplog.text
    assert (out / "dataset.json").read_bytes() == (sound / "dataset.json").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "target", ["step3vl.data.storage.files.os.fsync", "step3vl.pipelines.core.rows.pq.ParquetWriter"]
)
def test_a_full_disk_ends_the_build_uncommitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(target, full_disk)
        with pytest.raises(InfrastructureError, match="No space left on device") as raised:
            build_corpus(config(), tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out" / "dataset.json").exists()
    assert build_corpus(config(), tmp_path / "out").manifest.shards, "the next build succeeds"


@pytest.mark.slow
def test_a_build_that_keeps_no_sample_is_refused_and_says_why(tmp_path: Path) -> None:
    crowded = config(scale=[1.0, 1.0], distractors=[3, 3])
    with pytest.raises(UserError, match=r"the dataset t would be empty.*icons\.build: 12 no_room.*nothing was"):
        build_corpus(crowded, tmp_path / "out")
    assert not (tmp_path / "out" / "dataset.json").exists()


@pytest.mark.slow
def test_a_full_disk_after_the_commit_says_so_and_the_next_build_writes_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(corpus, "write_card", full_disk)
        with pytest.raises(InfrastructureError, match=r"out is committed; writing its card: .*run the same command"):
            build_corpus(config(), out)
    build_corpus(config(), out)
    assert (out / "card.md").is_file()
