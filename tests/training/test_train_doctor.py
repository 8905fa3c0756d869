"""What the doctor finds in a dataset is what a run would meet."""

import io
import json
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console

from step3vl.data.crops import ImageSpec
from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.mixture import Mixture, MixtureSource, Stretch
from step3vl.data.tokens import TokenIds, load_tokenizer
from step3vl.model import (
    Step3VLForConditionalGeneration,
    Step3VLImageProcessor,
    Step3VLProcessor,
    save_checkpoint,
    tiny_config,
)
from step3vl.training.batch import Pixels, Prepared
from step3vl.training.doctor import Diagnosis, Examination, diagnose, render
from step3vl.training.loader import PackLoader


def shown(diagnosis: Diagnosis) -> str:
    console = Console(width=300, file=io.StringIO())
    console.print(render(diagnosis))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_sound_dataset_is_told_to_the_token(corpus: Path) -> None:
    found = diagnose(str(corpus), capacity=128)
    assert found.healthy
    assert found.whole
    assert 0.8 < found.filled <= 1
    assert sum(row.samples for row in found.tasks) == 150
    for row in found.tasks:
        assert row.committed == row.planned == row.found > row.trained > 0
        assert (row.pictures > 0) == (row.task != "education.sum")
    assert "nothing is wrong" in shown(found)


def test_a_look_at_some_packs_says_so(corpus: Path) -> None:
    found = diagnose(str(corpus), capacity=128, packs=5)
    assert not found.whole
    assert found.packs == 5
    assert "the first 5 packs" in shown(found)


def test_samples_too_long_for_a_pack_are_counted_by_what_the_policy_leaves_out(corpus: Path) -> None:
    lost = {}
    for policy in ("drop", "truncate", "split"):
        found = diagnose(str(corpus), capacity=20, kind="document", oversize=policy)  # type: ignore[arg-type]
        assert found.oversized > 0
        lost[policy] = found.lost_tokens
        assert found.healthy == (policy == "split")
    assert lost["drop"] > lost["truncate"] > lost["split"] == 0


def test_damage_and_wrong_counts_are_found_and_placed(corpus: Path, tmp_path: Path) -> None:
    root = tmp_path / "damaged"
    shutil.copytree(corpus, root)
    index = Dataset.open(root).index(["offset", "size"], split="train")
    shard = next((root / "shards").glob("*train*.tar"))
    data = bytearray(shard.read_bytes())
    for offset, size in list(zip(index["offset"].to_pylist(), index["size"].to_pylist(), strict=True))[:7]:
        data[offset + size // 2] ^= 1
    shard.write_bytes(data)
    found = diagnose(str(root), capacity=128)
    (finding,) = found.findings
    assert (finding.complaint, finding.count, len(finding.examples)) == ("unreadable", 7, 5)
    assert "train-00000-of-00001.tar at byte" in finding.examples[0]
    assert sum(row.planned for row in found.tasks) > sum(row.found for row in found.tasks)
    assert "7 samples that a run would skip" in shown(found)


def test_conversations_that_lose_their_answer_train_nothing(corpus: Path) -> None:
    found = diagnose(str(corpus), capacity=16, kind="conversation", oversize="truncate")
    assert {finding.complaint for finding in found.findings} == {"untrained"}
    assert found.findings[0].count == found.oversized == 100
    assert all(row.trained == 0 for row in found.tasks)


def test_pictures_that_do_not_fill_their_places_are_found(corpus: Path, image_spec: ImageSpec) -> None:
    tokenizer, processor = load_tokenizer(corpus), Step3VLImageProcessor(**image_spec.model_dump())
    loader = PackLoader(
        [Stretch(Mixture(sources=(MixtureSource(dataset=str(corpus), modality="image"),)))],
        capacity=128,
        seed=0,
        tokenizer=tokenizer,
        image_processor=processor,
        micro_batch=1,
        rank=0,
        world=1,
    )
    pack = next(loader.plan.packs())
    examination = Examination(loader, processor, TokenIds.of(tokenizer))
    found = [(item, loader.prepared(item)) for item in pack.items]
    item, first = found[0]
    assert isinstance(first, Prepared)
    assert first.pixels is not None
    lacking = Pixels(first.pixels.views[:0], first.pixels.crops[:0], first.pixels.counts[:0])
    examination.see([(item, first._replace(pixels=lacking)), *found[1:]])
    (finding,) = examination.findings()
    assert (finding.complaint, finding.count) == ("placeholders", 1)
    assert "picture tokens, the tower makes 0" in finding.examples[0]


def test_a_model_brings_its_own_tokenizer_and_sizes(corpus: Path, image_spec: ImageSpec, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(corpus)
    torch.manual_seed(0)
    image_token = TokenIds.of(tokenizer).image_patch
    shape = tiny_config(tokenizer.get_vocab_size(), image_spec, image_token_id=image_token, hidden_size=32)
    model = Step3VLForConditionalGeneration(shape)
    save_checkpoint(model, Step3VLProcessor.build(tokenizer, image_spec), tmp_path / "model")
    assert diagnose(str(corpus), tmp_path / "model", capacity=128) == diagnose(str(corpus), capacity=128)
    path = next(path for path in (tmp_path / "model").glob("*processor_config.json"))
    values = json.loads(path.read_text(encoding="utf-8"))
    values.get("image_processor", values)["max_side"] = 56
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(UserError, match="was counted for pictures of"):
        diagnose(str(corpus), tmp_path / "model", capacity=128)
    with pytest.raises(UserError, match="no model at"):
        diagnose(str(corpus), tmp_path / "nothing", capacity=128)
