"""Questions without their options."""

import re

_OPTION = re.compile(r"^\s*(?:\(?[A-Ja-j][).:]|[A-J]\s)\s*\S", re.MULTILINE)
_HEADING = re.compile(r"(?:^|(?<=[.?!:]))\s*(?:answer\s+)?(?:choices|options)\s*:", re.IGNORECASE | re.MULTILINE)


def without_options(text: str) -> str:
    """A question without its options, which other corpora order and letter otherwise.

    They begin at a heading such as `Choices:`, or where two lines in a row or more are lettered.
    """
    heading = _HEADING.search(text)
    if heading and text[: heading.start()].strip():
        return text[: heading.start()].rstrip()
    options = list(_OPTION.finditer(text))
    if len(options) >= 2 and text[: options[0].start()].strip():
        return text[: options[0].start()].rstrip()
    return text
