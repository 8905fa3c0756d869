"""Personal data in texts: found by patterns whose checksums, separators or neighbours confirm them.

Digits of exercises and tables look like numbers of phones and cards, so digits alone are never enough.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import phonenumbers
from stdnum import iban, luhn
from stdnum.cn import ric
from stdnum.us import ssn

_HINT = re.compile(r"@|\d\D{0,3}\d|:\w*:")  # without which there is nothing to find
_CONTEXT = 40  # characters before a number in which a word may say what it is
_EMAIL = re.compile(
    r"(?<![\w.+%-])[A-Za-z0-9_%+-]+(?:\.[A-Za-z0-9_%+-]+)*@"
    r"(?P<host>(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24})(?![\w-])",
    re.ASCII,
)
_EXAMPLE_HOST = re.compile(
    r"(?:^|\.)(?:example(?:\.(?:com|org|net))?|test|invalid|localhost)$", re.IGNORECASE
)  # of RFC 2606
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)", re.ASCII)
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){3,7}(?![\w:.]*\w)")
_HOST_WORD = re.compile(
    r"\b(?:ip|ipv4|address|host|server|dns|ping|gateway|proxy|peer|client|subnet)\b|地址", re.IGNORECASE
)
_HIGH_OCTET = 100  # versions and sections seldom have one
_CARD = re.compile(r"(?<![\w.,/-])\d(?:[ -]?\d){12,18}(?![\w/-]|[.,]\d)", re.ASCII)
_CARD_WORD = re.compile(r"\b(?:card|credit|debit|visa|master ?card|amex|cvv)\b|卡号|银行卡|信用卡", re.IGNORECASE)
_ISSUER = re.compile(r"4|5[1-5]|2[2-7]|3[47]|6")
_GROUPS = re.compile(r"\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{5}")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])", re.ASCII)
_SSN = re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])", re.ASCII)
_RESIDENT = re.compile(r"(?<![\w.])\d{17}[\dXx](?![\w]|\.\d)", re.ASCII)
_PHONE = re.compile(r"(?<![\w.,/=-])(?:\+|\(\+?|00)?\d[\d\s().\-/]{5,20}\d(?![\w%]|[.,]\d)", re.ASCII)
_PHONE_WORD = re.compile(
    r"\b(?:tel|phone|telephone|mobile|cell|call|fax|whatsapp|hotline|contact)\b|电话|手机|联系|热线|传真",
    re.IGNORECASE,
)
_SEPARATED = re.compile(r"\(\d{2,5}\)\s?\d|\d[ .-]\d{3,4}[ .-]\d{2,4}")


class PersonalData(NamedTuple):
    """A place in a text.

    Attributes:
        start: Its first character.
        end: The one after the last.
        kind: `EMAIL`, `PHONE`, `IP_ADDRESS`, `CARD`, `IBAN` or `NATIONAL_ID`.
    """

    start: int
    end: int
    kind: str


def find_personal_data(text: str, regions: Sequence[str] = ()) -> list[PersonalData]:
    """Personal data of a text, in order, no two of them overlapping.

    Args:
        text: In any language.
        regions: ISO 3166 codes of the countries whose numbers of phones are found without a country code, too.
    """
    if not _HINT.search(text):
        return []
    places = [*(place for find in _FINDERS for place in find(text)), *_phones(text, regions)]
    places.sort(key=lambda place: (place.start, -place.end))
    kept: list[PersonalData] = []
    for place in places:
        if not kept or place.start >= kept[-1].end:
            kept.append(place)
    return kept


def mask_text(text: str, regions: Sequence[str] = ()) -> tuple[str, list[str]]:
    """The text with typed placeholders such as `[EMAIL]` in place of personal data, and the kinds in order."""
    places = find_personal_data(text, regions)
    pieces, last = [], 0
    for place in places:
        pieces += [text[last : place.start], f"[{place.kind}]"]
        last = place.end
    return "".join([*pieces, text[last:]]), [place.kind for place in places]


def _emails(text: str) -> Iterator[PersonalData]:
    for match in _EMAIL.finditer(text):
        if not _EXAMPLE_HOST.search(match["host"]):
            yield PersonalData(*match.span(), "EMAIL")


def _addresses(text: str) -> Iterator[PersonalData]:
    for match in (*_IPV4.finditer(text), *_IPV6.finditer(text)):
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            continue
        high = address.version == 6 or max(address.packed) >= _HIGH_OCTET
        if address.is_global and (high or _has_context(text, match.start(), _HOST_WORD)):
            yield PersonalData(*match.span(), "IP_ADDRESS")


def _cards(text: str) -> Iterator[PersonalData]:
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        confirmed = _GROUPS.fullmatch(match[0]) or _has_context(text, match.start(), _CARD_WORD)
        if confirmed and _ISSUER.match(digits) and len(set(digits)) > 1 and luhn.is_valid(digits):
            yield PersonalData(*match.span(), "CARD")


def _checked(
    pattern: re.Pattern[str], is_valid: Callable[[str], bool], kind: str, text: str
) -> Iterator[PersonalData]:
    for match in pattern.finditer(text):
        if is_valid(match[0]):
            yield PersonalData(*match.span(), kind)


def _accounts(text: str) -> Iterator[PersonalData]:
    yield from _checked(_IBAN, iban.is_valid, "IBAN", text)


def _national_ids(text: str) -> Iterator[PersonalData]:
    yield from _checked(_SSN, ssn.is_valid, "NATIONAL_ID", text)
    yield from _checked(_RESIDENT, ric.is_valid, "NATIONAL_ID", text)


_FINDERS = (_emails, _addresses, _cards, _accounts, _national_ids)


def _phones(text: str, regions: Sequence[str]) -> Iterator[PersonalData]:
    """Numbers that are valid in a numbering plan, and that a plus, separators or a word before them confirm."""
    for match in _PHONE.finditer(text):
        number = match[0]
        confirmed = (
            number.startswith(("+", "(+"))
            or _SEPARATED.search(number)
            or _has_context(text, match.start(), _PHONE_WORD)
        )
        if confirmed and any(_is_phone(number, region) for region in (*regions, None)):
            yield PersonalData(*match.span(), "PHONE")


def _is_phone(number: str, region: str | None) -> bool:
    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(number, region)))
    except phonenumbers.NumberParseException:
        return False


def _has_context(text: str, start: int, words: re.Pattern[str]) -> bool:
    return words.search(text, max(0, start - _CONTEXT), start) is not None
