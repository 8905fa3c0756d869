"""Conversations about the images of committed datasets, and about scenes."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.sample import BoxTruth, Sample, Source, TranscriptTruth
from step3vl.data.storage import DEFAULT_STORE
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.samples import compose, encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains import vqa
from step3vl.pipelines.domains.vqa import AskAboutSamples, FindSamples, VqaEntry
from step3vl.pipelines.domains.vqa_questions.frames import ABSENT
from step3vl.pipelines.domains.vqa_questions.judging import WriteConversations
from step3vl.pipelines.domains.vqa_questions.turns import Asked
from step3vl.pipelines.domains.vqa_scenes import AskAboutScenes, ScenesEntry
from step3vl.pipelines.render.scenes.scene import render_scene
from step3vl.pipelines.render.scenes.scene_reading import read_scene
from step3vl.pipelines.render.style import plain
from step3vl.pipelines.sources.dataset_samples import SampleRef
from step3vl.pipelines.sources.icons import IconSet

LABELLED = "data/samples/labelled"


def entry_of(**fields: Any) -> VqaEntry:
    return VqaEntry.model_validate({"domain": "vqa", "name": "v", "datasets": [LABELLED], **fields})


Ask = Callable[[VqaEntry], tuple[list[Record[Asked]], Counter[str]]]


@pytest.fixture
def ask(context: StepContext) -> Ask:
    """The conversations about the labelled samples, and why some have none."""

    def ask(entry: VqaEntry) -> tuple[list[Record[Asked]], Counter[str]]:
        find, about = FindSamples(entry, context), AskAboutSamples(entry, context)
        about.setup()
        asked: list[Record[Asked]] = []
        dropped: Counter[str] = Counter()
        (source,) = entry.inputs().sources  # type: ignore[union-attr]
        for file in list_pattern(source.files[0], "", entry="v", base=context.base, store=DEFAULT_STORE):
            for ref in find.process(Record(file.key, file), rng_for(0)):
                try:
                    asked += about.process(ref, rng_for(0, ref.key))
                except Dropped as drop:
                    dropped[drop.reason] += 1
        return asked, dropped

    return ask


def build(entry: Any, asked: list[Record[Asked]], context: StepContext) -> list[Sample]:
    worker = WriteConversations(entry, context)
    return [sample for record in asked for sample in worker.process(record, rng_for(1))]


def test_every_labelled_sample_is_asked_about_and_every_answer_is_accepted(ask: Ask, context: StepContext) -> None:
    entry = entry_of(conversations=3, turns=[1, 4])
    asked, dropped = ask(entry)
    parents = {sample.id: sample for sample in Dataset.open(LABELLED).samples()}
    samples = build(entry, asked, context)
    assert len({sample.source.parents for sample in samples}) + sum(dropped.values()) == len(parents)
    assert sum(dropped.values()) <= 2 and len(samples) > 80
    assert {sample.task for sample in samples} == {"vqa.chart", "vqa.table", "vqa.diagram", "vqa.text"}
    for sample in samples:
        (parent,) = sample.source.parents
        assert sample.images[0].sha256 == parents[parent].images[0].sha256
        assert sample.source.licence == parents[parent].source.licence
        assert sample.truth and grade_answer(sample.truth, sample.answer()).verdict == "correct"
        assert sample.messages and all(
            message.loss_weight == 1 for message in sample.messages[:-1] if message.role == "assistant"
        )
    assert {sample.source.traits["language"] for sample in samples} == {"en", "zh"}
    turns = Counter(turn.kind for record in asked for turn in record.value.turns)
    assert len(turns) > 20


def test_what_does_not_exist_is_an_error_before_anything_runs(context: StepContext, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing was committed there"):
        entry_of(datasets=[str(tmp_path)]).check(context)
    endpoint = {"url": "http://127.0.0.1:9/v1", "model": "m", "cache": str(tmp_path)}
    with pytest.raises(UserError, match=r"the prompt uses \{caption\}"):
        entry_of(judge={"endpoint": endpoint, "prompt": "{caption}"}).check(context)
    entry_of(judge={"endpoint": endpoint}).check(context)


def test_the_same_record_gives_the_same_conversations(ask: Ask) -> None:
    assert ask(entry_of()) == ask(entry_of())


def test_images_are_left_in_the_shard(ask: Ask) -> None:
    asked, _ = ask(entry_of())
    assert all(record.value.image.data is None and record.value.image.at is not None for record in asked)


def test_a_document_holds_all_questions_and_answers(ask: Ask, context: StepContext) -> None:
    entry = entry_of(kind="document", turns=[3, 3], languages=["en"])
    asked, _ = ask(entry)
    record = next(record for record in asked if len(record.value.turns) == 3)
    (sample,) = build(entry, [record], context)
    assert sample.content is not None
    text = sample.content[1].text  # type: ignore[union-attr]
    assert text.count("Question: ") == 3 and all(turn.answer in text for turn in record.value.turns)


def test_fractions_of_an_entry_are_kept(ask: Ask) -> None:
    none, _ = ask(entry_of(choices=0, unanswerable=0, conversations=3))
    turns = [turn for record in none for turn in record.value.turns if turn.kind != "which_present"]
    assert {turn.style for turn in turns} == {"free"}
    assert not any(turn.answer in ABSENT.values() for turn in turns)
    many, _ = ask(entry_of(unanswerable=0.9, turns=[1, 1], tasks=["ocr.image_to_code.table_data"]))
    answers = [turn.answer in ABSENT.values() for record in many for turn in record.value.turns]
    assert sum(answers) > len(answers) / 2


@pytest.mark.parametrize(
    ("task", "truth", "reason"),
    [
        ("grounding.box", BoxTruth(boxes=((1, 2, 3, 4),)), "no_facts"),
        ("ocr.image_to_code.chart_code", TranscriptTruth(text="import matplotlib"), "no_facts"),
        ("ocr.region", TranscriptTruth(text="only a part"), "no_facts"),
        (
            "ocr.document_to_code.page_html",
            TranscriptTruth(text="| a | b |\n|-|-|\n| x | 1 |\n| y | 2 |\n\n" * 2),
            "several_tables",
        ),
        ("ocr.image_to_text", TranscriptTruth(text="?"), "nothing_to_ask"),
    ],
)
def test_what_proves_nothing_is_not_asked_about(
    context: StepContext, monkeypatch: pytest.MonkeyPatch, task: str, truth: Any, reason: str
) -> None:
    sample = compose(
        kind="conversation",
        domain=task.partition(".")[0],
        task=task,
        question="?",
        answer="!",
        truth=truth,
        images=[encode_jpeg(plain((20, 20), (9, 9, 9)))],
        source=Source(uri="x", licence="MIT", collected_by="t"),
    )
    monkeypatch.setattr(vqa, "read_sample", lambda ref: sample)
    worker = AskAboutSamples(entry_of(), context)
    worker.setup()
    ref = SampleRef.model_construct(id=sample.id)
    with pytest.raises(Dropped, match=reason):
        list(worker.process(Record("k", ref), rng_for(0)))


# Scenes


def test_scenes_are_asked_about_and_read_back(context: StepContext) -> None:
    entry = ScenesEntry.model_validate({"domain": "vqa.scenes", "name": "s", "count": 1, "image_size": [160, 260]})
    worker = AskAboutScenes(entry, context)
    worker.setup()
    asked: list[Record[Asked]] = []
    for number in range(40):
        try:
            asked += worker.process(Record(f"s/{number}", number), rng_for(0, number))
        except Dropped as drop:
            assert drop.reason in ("no_room", "not_read_back")
    samples = build(entry, asked, context)
    assert len(samples) > 30 and {sample.task for sample in samples} == {"vqa.scene"}
    assert all(sample.truth and grade_answer(sample.truth, sample.answer()).verdict == "correct" for sample in samples)
    assert asked == [
        record
        for number in range(40)
        if f"s/{number}" in {each.key for each in asked}
        for record in worker.process(Record(f"s/{number}", number), rng_for(0, number))
    ]


def test_a_scene_that_shows_something_else_is_not_read_back(context: StepContext) -> None:
    from step3vl.pipelines.render.scenes.scene import IconRequest

    icons = IconSet(context.assets(["assets:icons/*.svg"]))
    background = plain((300, 300), (240, 230, 210))
    scene = background.copy()
    requests = [IconRequest("cat", "red", 70), IconRequest("key", "blue", 60)]
    placed = render_scene(scene, requests, icons, rng_for(3))
    assert placed is not None
    boxes = [item.box for item in placed]
    read = read_scene(scene, background, boxes, icons)
    assert read is not None and [(item.icon, item.colour) for item in read] == [("cat", "red"), ("key", "blue")]
    assert all(
        abs(item.box.x1 - other.box.x1) <= 2 and abs(item.box.y2 - other.box.y2) <= 2
        for item, other in zip(placed, read, strict=True)
    )
    assert read_scene(scene, background, boxes[:1], icons) is None  # an icon besides
    assert read_scene(background, background, boxes, icons) is None  # nothing there
    swapped = read_scene(scene, background, boxes[::-1], icons)
    assert swapped is not None and [item.icon for item in swapped] == ["key", "cat"]
