"""Personal data: what is found and masked, and the numbers of maths, tables and versions that are not."""

import io
import json
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from stdnum import iban, luhn

from step3vl.data.sample import Image, ImageSpec, Sample
from step3vl.data.tokens import train_bpe
from step3vl.pipelines.curation.filters.masking import Masked, Masker, PersonalDataConfig, mask_image
from step3vl.pipelines.curation.filters.personal_data import find_personal_data, mask_text
from step3vl.pipelines.curation.filters.view import Finding

REGIONS = ("US", "GB", "CN")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mail jo.doe+x@mail.co.uk, now.", "Mail [EMAIL], now."),
        ("Mail user@example.com or root@localhost.", "Mail user@example.com or root@localhost."),
        ("Call +44 20 7946 0958.", "Call [PHONE]."),
        ("Call (650) 253-0000 or 650.253.0000", "Call [PHONE] or [PHONE]"),
        ("手机：13812345678。", "手机：[PHONE]。"),
        ("The number 6502530000 is even.", "The number 6502530000 is even."),
        ("host 203.0.114.7 and server 8.8.8.8:53", "host [IP_ADDRESS] and server [IP_ADDRESS]:53"),
        ("See section 1.2.3.4 and version 10.15.7.1; 127.0.0.1 is local.", None),
        ("DNS is 2001:4860:4860::8888, at 12:30:45.", "DNS is [IP_ADDRESS], at 12:30:45."),
        ("Card 4111 1111 1111 1111, 卡号4111111111111111.", "Card [CARD], 卡号[CARD]."),
        ("The product is 4111111111111111.", None),  # a number in maths
        ("1234 5678 1234 5670", None),  # no issuer has these
        ("To GB82 WEST 1234 5698 7654 32.", "To [IBAN]."),
        ("SSN 536-90-4399; id 11010519491231002X", "SSN [NATIONAL_ID]; id [NATIONAL_ID]"),
        ("SSN 000-12-3456 is none.", None),
        ("pi = 3.14159265358979323846, 2^64 = 18446744073709551616", None),
        ("| 12 345 678 | 1,234,567.89 | 2024-01-15 10:20:30 |", None),
        ("x = 12 - 34 + 5678 * 90 - 12345", None),
        ("ISBN 978-3-16-148410-0, arXiv:2403.01234, doi 10.1000/182", None),
        ("p@ss @ home, a@b", None),
    ],
)
def test_personal_data_are_masked_and_other_numbers_are_not(text: str, expected: str | None) -> None:
    assert mask_text(text, REGIONS)[0] == (text if expected is None else expected)


@st.composite
def planted(draw: st.DrawFn) -> tuple[str, str]:
    """Words with an item of personal data among them, and its kind."""
    digits = draw(st.text("0123456789", min_size=14, max_size=14))
    card = f"4{digits}"
    card += luhn.calc_check_digit(card)
    account = f"DE00{digits}{digits[:4]}"
    account = f"DE{iban.calc_check_digits(account)}{account[4:]}"
    user = draw(st.from_regex(r"[a-z]{1,8}(\.[a-z0-9]{1,5})?", fullmatch=True))
    kind, item = draw(
        st.sampled_from(
            [
                ("CARD", " ".join(card[place : place + 4] for place in range(0, 16, 4))),
                ("IBAN", account),
                ("EMAIL", f"{user}@mail.org"),
                ("PHONE", f"+1 650-253-{digits[:4]}"),
                ("IP_ADDRESS", f"8.{int(digits[:2]) + 100}.{int(digits[2:4])}.7"),
            ]
        )
    )
    words = draw(st.lists(st.sampled_from(["the", "und", "数据", "(see", "x=1;"]), max_size=5))
    place = draw(st.integers(0, len(words)))
    return " ".join([*words[:place], item, *words[place:]]), kind


@settings(deadline=None, max_examples=60)
@given(planted())
def test_planted_items_are_found_wherever_they_stand_and_masking_is_idempotent(example: tuple[str, str]) -> None:
    text, kind = example
    masked, kinds = mask_text(text, REGIONS)
    assert kinds == [kind]
    assert mask_text(masked, REGIONS) == (masked, [])


@settings(deadline=None, max_examples=60)
@given(st.text("0123456789 .-+/()@:aA中\n", max_size=80))
def test_places_are_in_order_and_do_not_overlap(text: str) -> None:
    places = find_personal_data(text, REGIONS)
    assert all(place.start < place.end <= len(text) for place in places)
    assert all(first.end <= second.start for first, second in pairwise(places))


@pytest.fixture(scope="module")
def masker() -> Masker:
    return Masker(
        train_bpe(["a small tokenizer for tests"], 320),
        ImageSpec(image_size=112, crop_size=84, patch_size=7, max_side=448),
    )


def encoded(format: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


def test_a_clean_sample_is_left_as_it_is(masker: Masker, document: Callable[..., Sample]) -> None:
    assert masker.mask(document("Nothing is here."), PersonalDataConfig()) is None


def test_all_texts_are_masked_alike_and_the_sample_is_another(masker: Masker, dialogue: Callable[..., Sample]) -> None:
    sample = dialogue("Write to jo@mail.com", "I wrote to jo@mail.com")
    first, second = (masker.mask(sample, PersonalDataConfig()) for _ in range(2))
    assert isinstance(first, Masked)
    assert first == second
    assert first.kinds == {"EMAIL": 2}
    assert first.sample.answer() == "I wrote to [EMAIL]"
    assert first.sample.id == first.sample.content_id() != sample.id
    assert first.sample.source.parents == (sample.id,)
    assert Sample.from_row(first.sample.to_row()).id == first.sample.id


def test_a_text_in_an_image_without_a_known_place_is_dropped_or_kept_as_asked(
    masker: Masker, dialogue: Callable[..., Sample]
) -> None:
    sample = dialogue("Read it.", "jo@mail.com", [encoded("PNG")])
    assert isinstance(masker.mask(sample, PersonalDataConfig()), Finding)
    kept = masker.mask(sample, PersonalDataConfig(unlocated="mask"))
    assert isinstance(kept, Masked)
    assert kept.sample.images[0].sha256 == sample.images[0].sha256


def test_one_text_with_a_place_does_not_vouch_for_another(masker: Masker, dialogue: Callable[..., Sample]) -> None:
    answer = json.dumps({"bbox_2d": [0, 0, 100, 100], "text": "jo@mail.com"})
    sample = dialogue("Find it.", f"{answer} and al@mail.com", [encoded("PNG")])
    assert isinstance(masker.mask(sample, PersonalDataConfig()), Finding)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF"])
def test_boxes_are_filled_and_the_format_stays_where_it_has_colours(format: str) -> None:
    image = Image.from_bytes(encoded(format))
    masked = mask_image(image, [[250, 250, 750, 750]])
    assert masked.format == ("png" if format == "GIF" else image.format)
    inside = np.asarray(masked.open()).astype(int)[16:44, 22:58]
    assert np.abs(inside - 128).max() < 24  # beside the edge of a lossy one
    assert (masked.width, masked.height) == (80, 60)
