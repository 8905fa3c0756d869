"""The doctor reports of a dataset what a run would meet."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from step3vl.data.errors import UserError
from step3vl.data.plan import Mixture, MixtureSource, PlanPhase
from step3vl.data.sample import ImageSpec
from step3vl.data.tokens import TokenIds, load_tokenizer
from step3vl.model import (
    Step3VLForConditionalGeneration,
    Step3VLImageProcessor,
    Step3VLProcessor,
    save_checkpoint,
    tiny_config,
)
from step3vl.training.batch import ImagePixels, PreparedSample
from step3vl.training.doctor import Diagnosis, PackInspector, diagnose, render
from step3vl.training.loader import PackLoader


def rendered(diagnosis: Diagnosis) -> str:
    console = Console(width=300, file=io.StringIO())
    console.print(render(diagnosis))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_sound_dataset_is_counted_to_the_token(corpus: Path) -> None:
    diagnosis = diagnose(str(corpus), sequence_length=128)
    assert diagnosis.healthy
    assert diagnosis.complete
    assert 0.8 < diagnosis.filled <= 1
    assert sum(row.samples for row in diagnosis.tasks) == 150
    for row in diagnosis.tasks:
        assert row.committed == row.planned == row.encoded > row.trained > 0
        assert (row.images > 0) == (row.task != "education.sum")
    assert "no issues" in rendered(diagnosis)


def test_what_an_expression_leaves_out_is_reported(corpus: Path) -> None:
    diagnosis = diagnose(str(corpus), sequence_length=128, where="images > 0")
    assert diagnosis.healthy
    assert diagnosis.filtered is not None
    assert all(row.images for row in diagnosis.tasks)
    assert sum(row.samples for row in diagnosis.tasks) == 150 - diagnosis.filtered.left_out < 150
    assert f"where leaves out {diagnosis.filtered.left_out} of 150 samples" in rendered(diagnosis)
    with pytest.raises(UserError, match="no column 'language'"):
        diagnose(str(corpus), sequence_length=128, where="language == 'zh'")


def test_a_diagnosis_of_some_packs_says_so(corpus: Path) -> None:
    diagnosis = diagnose(str(corpus), sequence_length=128, packs=5)
    assert not diagnosis.complete
    assert diagnosis.packs == 5
    assert "the first 5 packs" in rendered(diagnosis)


def test_tokens_of_oversized_samples_are_counted_as_lost_by_policy(corpus: Path) -> None:
    lost_tokens = {}
    for policy in ("drop", "truncate", "split"):
        diagnosis = diagnose(str(corpus), sequence_length=20, kind="document", oversize=policy)  # type: ignore[arg-type]
        assert diagnosis.oversized > 0
        lost_tokens[policy] = diagnosis.lost_tokens
        assert diagnosis.healthy == (policy == "split")
    assert lost_tokens["drop"] > lost_tokens["truncate"] > lost_tokens["split"] == 0


def test_damaged_samples_are_reported_with_their_position(corpus: Path, damage: Any, tmp_path: Path) -> None:
    root = tmp_path / "damaged"
    shutil.copytree(corpus, root)
    damage(root, slice(7))
    diagnosis = diagnose(str(root), sequence_length=128)
    (issue,) = diagnosis.issues
    assert (issue.kind, issue.count, len(issue.examples)) == ("unreadable", 7, 5)
    assert "train-00000-of-00001.tar at byte" in issue.examples[0]
    assert sum(row.planned for row in diagnosis.tasks) > sum(row.encoded for row in diagnosis.tasks)
    assert "7 samples that a run would skip" in rendered(diagnosis)


def test_truncated_conversations_without_an_answer_are_reported_as_untrained(corpus: Path) -> None:
    diagnosis = diagnose(str(corpus), sequence_length=16, kind="conversation", oversize="truncate")
    assert {issue.kind for issue in diagnosis.issues} == {"untrained"}
    assert diagnosis.issues[0].count == diagnosis.oversized == 100
    assert all(row.trained == 0 for row in diagnosis.tasks)


def test_images_that_do_not_fill_their_placeholders_are_reported(corpus: Path, image_spec: ImageSpec) -> None:
    tokenizer, processor = load_tokenizer(corpus), Step3VLImageProcessor(**image_spec.model_dump())
    loader = PackLoader(
        [PlanPhase(Mixture(sources=(MixtureSource(dataset=str(corpus), modality="image"),)))],
        sequence_length=128,
        seed=0,
        tokenizer=tokenizer,
        image_processor=processor,
        micro_batch=1,
        rank=0,
        world=1,
    )
    pack = next(loader.plan.packs())
    inspector = PackInspector(loader, processor, TokenIds.of(tokenizer))
    samples = [(item, loader.prepare(item)) for item in pack.items]
    item, first = samples[0]
    assert isinstance(first, PreparedSample)
    assert first.pixels is not None
    empty = ImagePixels(first.pixels.views[:0], first.pixels.crops[:0], first.pixels.counts[:0])
    inspector.inspect([(item, first._replace(pixels=empty)), *samples[1:]])
    (issue,) = inspector.issues()
    assert (issue.kind, issue.count) == ("placeholder_mismatch", 1)
    assert "image tokens in the prompt, the encoder makes 0" in issue.examples[0]


def test_the_tokenizer_and_image_sizes_of_a_model_are_used(
    corpus: Path, image_spec: ImageSpec, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(corpus)
    torch.manual_seed(0)
    image_token = TokenIds.of(tokenizer).image_patch
    config = tiny_config(tokenizer.get_vocab_size(), image_spec, image_token_id=image_token, hidden_size=32)
    model = Step3VLForConditionalGeneration(config)
    save_checkpoint(model, Step3VLProcessor.build(tokenizer, image_spec), tmp_path / "model")
    assert diagnose(str(corpus), tmp_path / "model", sequence_length=128) == diagnose(str(corpus), sequence_length=128)
    path = next(path for path in (tmp_path / "model").glob("*processor_config.json"))
    values = json.loads(path.read_text(encoding="utf-8"))
    values.get("image_processor", values)["max_side"] = 56
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(UserError, match="was counted for images of"):
        diagnose(str(corpus), tmp_path / "model", sequence_length=128)
    with pytest.raises(UserError, match="no model at"):
        diagnose(str(corpus), tmp_path / "nothing", sequence_length=128)
