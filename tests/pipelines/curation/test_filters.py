"""Each filter by itself: what it finds, what it must not find, and the bounds of what it measures."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFilter
from pydantic import ValidationError

from step3vl.data.sample import Sample
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.curation.filters.licences import is_allowed
from step3vl.pipelines.curation.filters.markup import answer_fault, formatting_fault
from step3vl.pipelines.curation.filters.pixels import (
    NSFW,
    BlankFilter,
    BlurFilter,
    NsfwFilter,
    QrFilter,
    SizeFilter,
    contrast,
    sharpness,
    size_fault,
)
from step3vl.pipelines.curation.filters.repetition import (
    RepetitionFilter,
    most_frequent_share,
    repeated_share,
    repetition_fault,
)
from step3vl.pipelines.curation.filters.rules import FiltersConfig, FilterSet
from step3vl.pipelines.curation.filters.texts import LanguageFilter, TextFilter, language_fault
from step3vl.pipelines.curation.filters.view import Filter, Finding, SampleView
from step3vl.pipelines.curation.filters.words import (
    C4Filter,
    FineWebFilter,
    GopherFilter,
    c4_fault,
    fineweb_fault,
    gopher_fault,
    parts_words_by_spaces,
    repeated_characters,
)

PHOTO = Path("data/step3vl/data/assets/photos/chelsea.jpg")
PROSE = (
    "The rabbit-hole went straight on like a tunnel for some way, and then dipped suddenly down, so suddenly that "
    "Alice had not a moment to think about stopping herself before she found herself falling down a very deep well.\n"
    "Either the well was very deep, or she fell very slowly, for she had plenty of time as she went down to look "
    "about her and to wonder what was going to happen next. First, she tried to look down and make out what she was "
    "coming to."
)
CHINESE = "学而时习之，不亦说乎？有朋自远方来，不亦乐乎？人不知而不愠，不亦君子乎？" * 3


@pytest.mark.parametrize(
    ("text", "reason", "value", "limit"),
    [
        ("12 34 56 78 90 " * 10, "digits", 1.0, 0.5),
        (f"{PROSE} {'QUJD' * 40}", "encoded_data", 160, 120),
        (f"{PROSE}\ufffd\ufffd", "damaged_text", 2 / (len(PROSE) + 2), 0.001),
        ("abc", "too_short", 3, 5),
        (PROSE * 3, "too_long", 1000, 1000),
        ("!? " * 40 + "a", "symbols", 0.012, 0.5),
    ],
)
def test_a_text_filter_says_what_it_measured(text: str, reason: str, value: float, limit: float) -> None:
    finding = TextFilter(characters=(5, 1000)).find(view(text))
    assert finding is not None
    assert (finding.reason, finding.limit) == (reason, limit)
    if reason == "too_long":
        assert finding.value > limit
    else:
        assert finding.value == pytest.approx(value, abs=0.001)


def photo() -> PILImage.Image:
    with PILImage.open(PHOTO) as opened:
        return opened.convert("RGB")


def view(text: str = "", images: tuple[PILImage.Image, ...] = (), **row: Any) -> SampleView:
    return SampleView({"content": [{"type": "text", "text": text}], **row}, images)


def reason(finding: Finding | None) -> str:
    return finding.reason if finding else ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PROSE, ""),
        (CHINESE, ""),  # rules on words say nothing of it
        ("Too few words here.", "few_words"),
        ("a b c " * 40, "short_words"),
        ("incomprehensibilities " * 60, "long_words"),
        (PROSE + " #tag" * 20, "symbol_words"),
        ("\n".join(f"- {line}" for line in PROSE.replace("\n", " ").split(", ")), "bullet_lines"),
        ("\n".join(f"{line} ..." for line in PROSE.split(". ")) * 2, "ellipsis_lines"),
        (PROSE + " 12 34 56 78" * 20, "without_letters"),
        (
            "Cheap phones, laptops, cameras, tablets; sale, discount, delivery, returns, warranty. " * 6,
            "few_stop_words",
        ),
    ],
)
def test_gopher_drops_what_its_rules_say_and_keeps_prose(text: str, expected: str) -> None:
    assert reason(gopher_fault(text, GopherFilter())) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PROSE, ""),
        (CHINESE, ""),
        (PROSE.replace(",", "\n").replace(".", ""), "open_lines"),
        ("\n".join(f"Line {n}." for n in range(9)), "short_lines"),
        (f"{PROSE}\n{PROSE}", "repeated_lines"),
    ],
)
def test_fineweb_looks_at_lines(text: str, expected: str) -> None:
    assert reason(fineweb_fault(text, FineWebFilter())) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PROSE, ""),
        (CHINESE, ""),
        ("Lorem ipsum dolor sit amet. One. Two. Three.", "lorem_ipsum"),
        ("Only one sentence.", "few_sentences"),
        ("Please enable JavaScript to continue.\nPrivacy policy\nAll rights reserved.\nIt rains.", "notices"),
        ("Hello. A cookie recipe. Use butter. Bake it.", ""),
        ("f(x) = {x | x > 0}. It is open. It is convex.", ""),
    ],
)
def test_c4_drops_placeholders_and_notices(text: str, expected: str) -> None:
    assert reason(c4_fault(text, C4Filter())) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PROSE, ""),
        ("\n".join(["One line.", "Other line."] * 5), "repeated_lines"),
        (CHINESE.replace("？", "？\n"), "repeated_lines"),
        ("buy now " * 40 + PROSE, "frequent_ngram"),
        (f"{PROSE} But {PROSE}", "repeated_ngrams"),
    ],
)
def test_repetition_is_found_in_lines_and_ngrams(text: str, expected: str) -> None:
    assert reason(repetition_fault(text, RepetitionFilter())) == expected


@given(st.lists(st.sampled_from(["ab", "c", "def"]), max_size=60), st.integers(2, 6))
def test_shares_of_repetition_are_between_0_and_1_and_grow_with_copies(words: list[str], size: int) -> None:
    once, twice = repeated_share(words, size), repeated_share([*words, *words], size)
    assert 0 <= once <= 1
    assert 0 <= most_frequent_share(words, size) <= 1
    if len(words) >= size:
        assert once / 2 <= twice <= 1
        assert twice >= 0.5  # the second half is a copy


@given(st.lists(st.text("abc", min_size=1, max_size=5), max_size=30))
def test_the_repeated_characters_are_those_beyond_the_first_of_each(pieces: list[str]) -> None:
    total = sum(map(len, pieces))
    expected = (total - sum(map(len, set(pieces)))) / max(1, total)
    assert repeated_characters(pieces) == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=200))
def test_no_rule_raises_on_any_text(text: str) -> None:
    sample = view(text)
    filters: list[Filter] = [GopherFilter(), FineWebFilter(), C4Filter(), RepetitionFilter(), TextFilter()]
    for filter in filters:
        finding = filter.find(sample)
        assert finding is None or finding.reason
    formatting_fault(text)
    assert isinstance(parts_words_by_spaces(text), bool)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PROSE, ""),
        ("好好学习，天天向上。少壮不努力，老大徒伤悲。知识就是力量，时间就是金钱。", ""),
        (
            "Die Würde des Menschen ist unantastbar. Sie zu achten ist Verpflichtung aller staatlichen Gewalt.",
            "language",
        ),
        ("OK", ""),  # too short to tell
        ("Gesundheit, Kindergarten, Zeitgeist", "language"),
        ("3.14 2.71 1.41 1.73 " * 20, ""),
        ("HP LaserJet Pro M404dn", ""),  # the models disagree
    ],
)
def test_only_texts_that_are_surely_foreign_are_dropped(text: str, expected: str) -> None:
    assert reason(language_fault(text, LanguageFilter(languages=("en", "zh")))) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```python\nprint(1)\n```\nand \\begin{align}x\\end{align}", ""),
        ("```python\nprint(1)", "unclosed_code"),
        ("\\begin{align}x", "unclosed_environment"),
        ("What is it? <|im_end|>", "control_token"),
        ("<image>\nWhat is it?", "control_token"),
        ("<img src='a.png'><p>x < y</p>", ""),
        ("CafÃ© dÃ©jÃ  vu, itâ€™s", "mojibake"),
        ("Café déjà vu, it’s Ã", ""),
    ],
)
def test_damaged_form_is_found_and_markup_is_not_damage(text: str, expected: str) -> None:
    assert reason(formatting_fault(text)) == expected


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("What is it?", "A cat.", ""),
        ("What is it?", "  ", "empty_answer"),
        ("", "A cat.", "empty_question"),
        ("What is it?", "what is it? ", "echo"),
        ("What is it?", "I'm sorry, but as an AI language model I have no eyes.", "blind_answer"),
        ("What is it?", "I cannot see the image that you mention.", "blind_answer"),
        ("这是什么？", "抱歉，我无法查看图片。", "blind_answer"),
        ("Which colour is the car?", "There is no car, so it cannot be said from the image.", ""),
    ],
)
def test_answers_that_say_nothing_are_dropped_but_not_those_that_say_why(
    question: str, answer: str, expected: str
) -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": question}]},
        {"role": "assistant", "content": [{"type": "text", "text": answer}]},
    ]
    assert reason(answer_fault(SampleView({"messages": messages}))) == expected


@pytest.mark.parametrize(
    ("licence", "expected"),
    [("CC0-1.0", True), ("cc-by-4.0", True), ("CC-BY-NC-4.0", False), ("unknown", False), ("MIT OR GPL-3.0", True),
     ("MIT AND GPL-3.0", False), ("(MIT)", True)],
)  # fmt: skip
def test_licences_are_allowed_by_pattern_and_expression(licence: str, expected: bool) -> None:
    assert is_allowed(licence, ("CC0-1.0", "CC-BY-[0-9]*", "MIT")) is expected


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_a_portrait_is_judged_as_the_landscape_of_its_sides(width: int, height: int) -> None:
    assert reason(size_fault(width, height, SizeFilter())) == reason(size_fault(height, width, SizeFilter()))


def test_blank_images_are_dropped_and_pages_with_a_word_are_not() -> None:
    blank = PILImage.new("RGB", (300, 200), "white")
    noisy = PILImage.effect_noise((300, 200), 1.5).convert("RGB")
    word = blank.copy()
    ImageDraw.Draw(word).text((10, 10), "word", fill="black")
    filter = BlankFilter()
    assert [reason(filter.find(view(images=(image,)))) for image in (blank, noisy, word, photo())] == [
        "blank_image", "blank_image", "", ""
    ]  # fmt: skip
    assert contrast(blank) == 0


def test_blurred_photographs_are_dropped_at_any_size() -> None:
    sharp = photo()
    large = sharp.resize((sharp.width * 4, sharp.height * 4), PILImage.Resampling.NEAREST)
    blurred = [image.filter(ImageFilter.GaussianBlur(4)) for image in (sharp, large)]
    filter = BlurFilter()
    assert filter.find(view(images=(sharp,))) is None
    assert reason(filter.find(view(images=(sharp, blurred[0])))) == "blurred_image"
    assert sharpness(blurred[0]) < 30 < sharpness(sharp)


def test_codes_that_fill_an_image_are_dropped_unless_the_text_asks_about_them() -> None:
    code = zxingcpp.create_barcode("https://a.example/join", zxingcpp.BarcodeFormat.QRCode).to_image(scale=6)
    poster = PILImage.new("RGB", (900, 900), "white")
    poster.paste(PILImage.fromarray(code).convert("RGB").resize((120, 120)), (20, 20))
    large = PILImage.fromarray(code).convert("RGB")
    filter = QrFilter()
    finding = filter.find(view("A poster.", (large,)))
    assert reason(finding) == "qr_code"
    assert finding is not None
    assert 0.3 < finding.value <= 1
    assert filter.find(view("Where does the QR code lead?", (large,))) is None
    assert filter.find(view("A poster.", (poster,))) is None


def test_the_nsfw_score_is_kept_whether_the_sample_is_or_not() -> None:
    sample = view(images=(photo(),))
    assert NsfwFilter().find(sample) is None
    assert 0 <= sample.scores[NSFW] < 0.2
    assert reason(NsfwFilter(max=0.0).find(view(images=(photo(),)))) == "nsfw"


def test_later_patterns_override_the_filters_that_they_name() -> None:
    config = FiltersConfig.model_validate(
        {
            "*": {"blank": {}, "blur": {}, "image_size": {"side": 10}},
            "ocr.*": {"blur": None, "image_size": {"side": 5}},
        }
    )
    photos, pages = config.of("vqa", "vqa.open"), config.of("ocr", "ocr.documents")
    assert (photos.blur is not None, pages.blur is not None) == (True, False)
    assert photos.image_size is not None
    assert pages.image_size is not None
    assert (photos.image_size.side, pages.image_size.side) == (10, 5)
    assert [type(filter).__name__ for filter in pages.filters] == ["SizeFilter", "BlankFilter"]
    assert config.of("gui", "gui.trajectory").needs_images


@pytest.mark.parametrize("values", [{}, {"*": {}}, {"*": {"blurr": {}}}, {"*": {"licence": {"allow": []}}}])
def test_filters_that_name_nothing_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FiltersConfig.model_validate(values)


def test_the_filters_of_the_how_to_page_are_valid() -> None:
    page = Path("docs/how-to/curate-a-dataset.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    examples = [CurationConfig.model_validate(block) for block in blocks]
    (filters,) = [example.filters for example in examples if example.filters and "text" in example.filters.root]
    named = {name for rules in filters.root.values() for name in rules.model_fields_set}
    assert named == FilterSet.model_fields.keys() - {"perplexity", "rollouts"}  # which need a model of one's own


def test_a_text_is_what_the_sample_says_in_all_turns(dialogue: Callable[..., Sample]) -> None:
    sample = SampleView(dialogue("How many?", "Four.").to_row())
    assert (sample.text, sample.question) == ("How many?\nFour.", "How many?")
