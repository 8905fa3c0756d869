"""Questions about captions and mosaics: right by the captions, and wrong by those of other images."""

import random
from collections import Counter
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.pipelines.domains.test_knowledge_pairs import ROOT, build

from step3vl.data.dataset import Counting, LedgerStep, commit, write_shard
from step3vl.data.sample import ImageSpec, OptionTruth, Sample, Source, TokenCount, image, text
from step3vl.grading import grade_answer
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.domains.mosaic_questions import places_of
from step3vl.pipelines.domains.vqa_questions.captions import GAP, CaptionQuestions, caption_of, is_apart
from step3vl.pipelines.domains.vqa_questions.mosaics import ACROSS, NEIGHBOURS, MosaicQuestions
from step3vl.pipelines.domains.vqa_questions.turns import Draft, Language
from step3vl.pipelines.render.scenes.mosaic import LAYOUTS, choose_frame, place
from step3vl.pipelines.render.style import plain
from step3vl.pipelines.sources.text.words import content_words

CAT = "The face of a ginger tabby cat with green eyes, seen from close up."
OTHERS = (
    "Rows of dark bricks with light joints between them run away from the viewer.",
    "A red cup of espresso on its saucer with a small spoon, on a wooden table.",
    "A bed of gravel made of many small, angular stones.",
    "A white rocket stands on its launch pad at dusk among lattice towers, with bright lights below.",
)
PAIRS = {"files": ["data/samples/pairs/*.tar"], "licence": "CC0-1.0"}


@pytest.mark.parametrize(
    ("caption", "other", "apart"),
    [
        (CAT, OTHERS[0], True),
        (CAT, "Two cats on a sofa.", False),
        ("A brick wall in the sun.", OTHERS[0], False),  # by its stem
        ("A rocketry club on a field.", OTHERS[3], False),
        (CAT, "A photo of the view.", False),  # says nothing that could be wrong
        ("一只橘色虎斑猫的脸部特写。", "一排排深色砖块向远处延伸。", True),
        ("一只橘色虎斑猫的脸部特写。", "沙发上的两只小猫。", False),  # one character
    ],
)
def test_captions_are_apart_if_they_share_no_word(caption: str, other: str, apart: bool) -> None:
    assert is_apart(caption, other) is is_apart(other, caption) is apart


@given(st.text(), st.text())
def test_captions_are_apart_in_either_order_and_never_from_themselves(caption: str, other: str) -> None:
    assert is_apart(caption, other) == is_apart(other, caption)
    assert not is_apart(caption, caption)


def drafts(asker: Any, kind: str, count: int = 40) -> list[Draft]:
    return [draft for _ in range(count) if (draft := asker.kinds()[kind]()) is not None]


def captions(language: Language = "en") -> CaptionQuestions:
    return CaptionQuestions(CAT, (*OTHERS, "Two cats on a sofa.", CAT), language, random.Random(0))


def test_the_wrong_captions_have_nothing_in_common_with_the_right_one() -> None:
    asker = captions()
    for draft in drafts(asker, "caption_fits"):
        assert draft.answer == CAT and draft.only_choice
        assert set(draft.wrong) == set(OTHERS)
    matches = drafts(asker, "caption_matches", 200)
    counts = Counter(draft.answer for draft in matches)
    assert min(counts["yes"], counts["no"]) > 60
    for draft in matches:
        assert (draft.values["cited"] == f'"{CAT.rstrip(".")}"') == (draft.answer == "yes")


@pytest.mark.parametrize("kind", ["caption_word", "caption_part"])
def test_a_gap_is_filled_by_what_the_caption_has_and_by_nothing_that_it_says_elsewhere(kind: str) -> None:
    others = (
        "A man in a dark coat bends over a camera, with a hat on his head.",
        "Rows of bricks run away from the viewer, with mortar and moss between them.",
        "A white rocket stands on its launch pad, with lights below the tower.",
        "An astronaut in an orange suit smiles, her helmet on the bench.",
    )
    caption = "A ginger cat on a red sofa, with a mouse between its paws."
    asker = CaptionQuestions(caption, others, "en", random.Random(0))
    made = drafts(asker, kind)
    assert made
    for draft in made:
        filled = draft.values["cited"].strip('"').replace(GAP, draft.answer)
        assert filled == caption.rstrip(".")
        assert len(draft.wrong) >= 2 and draft.only_choice
        for wrong in draft.wrong:
            assert any(wrong in other for other in others)
            assert not set(content_words(wrong)) & set(content_words(filled))


def test_articles_and_endings_do_not_give_a_word_away() -> None:
    asker = CaptionQuestions(
        "An owl is sitting on an antenna.",
        ("A boy is playing a violin.", "The girls are running to an airport.", "Someone is cooking an omelette."),
        "en",
        random.Random(0),
    )
    wrong = {draft.answer: set(draft.wrong) for draft in drafts(asker, "caption_word")}
    assert wrong["antenna"] == {"airport", "omelette"}
    assert wrong.get("sitting", {"running"}) <= {"playing", "running", "cooking"}


def test_a_chinese_caption_has_parts_and_no_words() -> None:
    others = (
        "一排排深色砖块向远处延伸，砖缝颜色较浅。",
        "木桌摆着一杯浓缩咖啡，碟子里还有小勺。",
        "白色火箭竖立在发射台，四周是塔架。",
    )
    asker = CaptionQuestions("橘猫脸部特写，眼睛是绿色的。", others, "zh", random.Random(0))
    assert drafts(asker, "caption_word") == []
    for draft in drafts(asker, "caption_part"):
        assert draft.answer == "眼睛是绿色的" and draft.values["cited"] == f"“橘猫脸部特写，{GAP}”"
        assert set(draft.wrong) <= {"碟子里还有小勺", "四周是塔架", "砖缝颜色较浅"}


def test_nothing_is_asked_of_a_caption_without_others() -> None:
    assert CaptionQuestions(CAT, ("Two cats on a sofa.",), "en", random.Random(0)).kinds() == {}


# Mosaics


def mosaic(layout: str, language: Language = "en") -> tuple[MosaicQuestions, list[str]]:
    texts = [CAT, OTHERS[0], OTHERS[1], "An astronaut in an orange suit smiles."]
    lines = [f"{name[0].upper()}{name[1:]}: {text}" for name, text in zip(places_of(layout, "en"), texts, strict=True)]
    return MosaicQuestions("\n".join(lines), layout, "en", language, random.Random(0)), texts


@pytest.mark.parametrize("layout", sorted(NEIGHBOURS))
@pytest.mark.parametrize("language", ["en", "zh"])
def test_places_and_captions_of_mosaics_belong_together(layout: str, language: Language) -> None:
    asker, texts = mosaic(layout, language)
    places = places_of(layout, language)
    where = {draft.values["cited"].strip('"“”'): draft.answer for draft in drafts(asker, "mosaic_where", 60)}
    assert where == {text.rstrip("."): name for text, name in zip(texts, places, strict=True)}
    at = {draft.values["place"].strip('"“”'): draft.answer for draft in drafts(asker, "mosaic_at", 60)}
    assert at == dict(zip(places, texts, strict=True))
    for draft in drafts(asker, "mosaic_is_at"):
        belongs = where[draft.values["cited"].strip('"“”')] == draft.values["place"].strip('"“”')
        assert draft.answer == ("yes" if belongs else "no")


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_neighbours_are_side_by_side_in_the_rendered_layout(layout: str) -> None:
    frame = choose_frame(600, random.Random(0), [])
    _, boxes = place(LAYOUTS[layout], [1.2, 0.9, 1.1, 1.0], frame, 600)
    for first, second, words in NEIGHBOURS["grid" if layout.startswith("grid") else layout]:
        before, after = boxes[first], boxes[second]
        if words is ACROSS:
            assert before.x2 <= after.x1 and before.y1 < after.y2 and after.y1 < before.y2
        else:
            assert before.y2 <= after.y1 and before.x1 < after.x2 and after.x1 < before.x2
        between = [box for box in boxes if box not in (before, after) and _is_between(box, before, after)]
        assert not between


def _is_between(box: Any, before: Any, after: Any) -> bool:
    x, y = (before.centre.x + after.centre.x) / 2, (before.centre.y + after.centre.y) / 2
    return bool(box.x1 < x < box.x2 and box.y1 < y < box.y2)


def test_what_is_beside_a_caption_is_its_neighbour() -> None:
    asker, texts = mosaic("row")
    for draft in drafts(asker, "mosaic_beside"):
        number = [text.rstrip(".") for text in texts].index(draft.values["cited"].strip('"'))
        other = number + (1 if draft.values["relation"] == "to the right of" else -1)
        assert draft.answer == texts[other]
        assert set(draft.wrong) == set(texts) - {texts[number], texts[other]}


def test_a_text_of_another_layout_fails() -> None:
    with pytest.raises(ValueError, match="by the pattern"):
        MosaicQuestions("Left: a\nTop right: b\nRight: c\nBottom right: d", "large_left", "en", "en", random.Random(0))


# Datasets


class Asked(NamedTuple):
    """Samples of pairs and mosaics by id, the questions about them, and why some are not asked about."""

    parents: dict[str, Sample]
    samples: list[Sample]
    reasons: Counter[str]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    folder = tmp_path_factory.mktemp("captions")
    mosaics = {"sources": [PAIRS], "rounds": 4, "longest": [224, 336],
               "tasks": {"knowledge.mosaic_captions": 3, "knowledge.mosaic_place": 1}}  # fmt: skip
    parents = [
        *build({"kind": "conversation", "sources": [PAIRS]}, ROOT).samples,
        *build(mosaics, ROOT, domain="knowledge.mosaic").samples,
    ]
    counted = [parent.model_copy(update={"tokens": TokenCount(text=9, image=9)}) for parent in parents]
    counted.sort(key=lambda sample: sample.id)
    spec = ImageSpec(image_size=112, crop_size=84, patch_size=7, max_side=448)
    commit(
        folder,
        name="c",
        shards=[write_shard(folder, "c-train-00000-of-00001.tar", "train", counted)],
        ledger=[LedgerStep(name="write", read=len(counted), kept=len(counted))],
        counting=Counting(tokenizer="t.json", tokenizer_sha256="0" * 64, image=spec),
        config={"seed": 0},
        code_version="test",
    )
    fields = {"datasets": [str(folder)], "tasks": ["knowledge.*"], "conversations": 6}
    built = build(fields, ROOT, domain="vqa")
    return Asked({parent.id: parent for parent in parents}, built.samples, built.reasons)


def test_captioned_samples_of_a_dataset_are_asked_about(asked: Asked) -> None:
    parents, samples, reasons = asked
    assert Counter(sample.task for sample in samples).keys() == {"vqa.caption", "vqa.mosaic"}
    assert {sample.source.traits["question"] for sample in samples} >= {
        "caption_fits", "caption_matches", "caption_part", "mosaic_where", "mosaic_at", "mosaic_is_at",
    }  # fmt: skip
    assert {sample.source.traits["language"] for sample in samples} == {"en", "zh"}
    assert reasons.keys() <= {"no_facts", "nothing_to_ask"}
    for sample in samples:
        (parent,) = sample.source.parents
        assert sample.images[0].sha256 == parents[parent].images[0].sha256
        assert sample.source.licence == parents[parent].source.licence
        assert sample.messages is not None and len(sample.messages) == 2  # a question tells the next one's answer
        assert sample.truth is not None and grade_answer(sample.truth, sample.answer()).verdict == "correct"


def test_the_right_option_is_the_caption_and_the_wrong_ones_are_of_other_images(
    asked: Asked,
) -> None:
    parents, samples, _ = asked
    fits = [sample for sample in samples if sample.source.traits["question"] == "caption_fits"]
    known = {parent.answer(): parent for parent in parents.values() if parent.task == "knowledge.pairs"}
    assert fits
    for sample in fits:
        assert isinstance(sample.truth, OptionTruth)
        right = sample.truth.option.partition(". ")[2]
        parent = parents[sample.source.parents[0]]
        assert right == parent.answer()
        for option in sample.truth.options:
            wrong = option.partition(". ")[2]
            if wrong != right:
                assert known[wrong].images[0].sha256 != parent.images[0].sha256
                assert not set(content_words(wrong)) & set(content_words(right))


def test_mosaics_are_asked_about_as_their_labels_say(asked: Asked) -> None:
    parents, samples, _ = asked
    at = [sample for sample in samples if sample.source.traits["question"] == "mosaic_at"]
    assert at
    for sample in at:
        assert isinstance(sample.truth, OptionTruth)
        assert sample.truth.option.partition(". ")[2] in parents[sample.source.parents[0]].answer()
    assert not any(parents[s.source.parents[0]].task == "knowledge.mosaic_place" for s in samples)


def test_captions_of_other_roles_and_long_ones_are_no_captions() -> None:
    def sample(words: str, role: str) -> Sample:
        source = Source(uri="x", licence="MIT", collected_by="t", traits={"role": role})
        picked = encode_jpeg(plain((20, 20), (9, 9, 9)))
        return Sample.make(
            domain="knowledge",
            task="knowledge.pairs",
            content=(image(0), text(words)),
            images=(picked,),
            source=source,
        )

    assert caption_of(sample("A  mill\nby the river.", "alt")) == "A mill by the river."
    for words, role in (("A mill.", "above"), ("A mill. " * 50, "caption"), ('The "mill".', "caption")):
        assert caption_of(sample(words, role)) is None
