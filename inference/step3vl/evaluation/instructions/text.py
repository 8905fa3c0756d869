"""What the checks count: sentences, words, tokens, syllables, emoji, and the language of a text.

The official checks count with NLTK's models. These are rules that need no models and give the same counts on the
recorded outputs; all take time linear in the length of the text.
"""

import re
import string

from step3vl.data.optional import require

_STOP_WORDS_TEXT = """
    a about above after again against ain all am an and any are aren aren't as at be because been before being below
    between both but by can couldn couldn't d did didn didn't do does doesn doesn't doing don don't down during each
    few for from further had hadn hadn't has hasn hasn't have haven haven't having he he'd he'll her here hers herself
    he's him himself his how i i'd if i'll i'm in into is isn isn't it it'd it'll it's its itself i've just ll m ma me
    mightn mightn't more most mustn mustn't my myself needn needn't no nor not now o of off on once only or other our
    ours ourselves out over own re s same shan shan't she she'd she'll she's should shouldn shouldn't should've so
    some such t than that that'll the their theirs them themselves then there these they they'd they'll they're
    they've this those through to too under until up ve very was wasn wasn't we we'd we'll we're were weren weren't
    we've what when where which while who whom why will with won won't wouldn wouldn't y you you'd you'll your you're
    yours yourself yourselves you've
"""
STOP_WORDS = frozenset(_STOP_WORDS_TEXT.split())
"""English words that carry little meaning, as NLTK lists them; IFBench counts their share."""

_PUNCTUATION = str.maketrans("", "", string.punctuation)
EDGES = string.punctuation + " "
"""What is stripped from both ends of a word."""

_END = re.compile(r"[.?!]+(?=[)\"';}\]*:@({\[]|\s)")
_REST = re.compile(r"\s*[\"')\]}]*(?:\s+|$)")
_OPENING = "\"'“‘([{*_"
_NEXT = re.compile(r"\s*(\S{1,40})")
# Abbreviations that end no sentence, as English news text has them; without their last full stop.
_ABBREVIATIONS_TEXT = """
    a.m p.m u.s u.k u.n u.s.a ph.d d.c dr mr mrs ms prof st jr sr inc ltd corp co cos vs jan feb aug sept sep oct nov
    dec tues wed fri sat gen col maj lt sen reps rep gov ave messrs bros mt ft va ga pa fla calif mich minn tenn wash
    conn ill okla ore wis cie
"""
_ABBREVIATIONS = frozenset(_ABBREVIATIONS_TEXT.split())
# Initials; of the small letters not those that are words or variables of their own (a, b, i, o, x, y, z).
_INITIALS = re.compile(r"[A-Zc-hj-np-w]|[A-OQ-Z]\.[A-Z]")

_WORD = re.compile(r"\w+")
_CONTRACTION = re.compile(r"(?i)(?<=\w)(?:n't|'(?:s|m|d|ll|re|ve))$")
_PARTS = re.compile(r"\w(?:[\w.,:'/\\-]*\w)?|[^\w\s]")
_VOWELS = re.compile(r"[aeiouy]+")
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b05-\u2b55\u231a-\u23ff\u25aa-\u25fe\u2194-\u21aa\u3030\u303d\u3297\u3299"
    "\u203c\u2049\u2122\u2139\u24c2\u00a9\u00ae\u2934\u2935]"
)


def sentences(text: str) -> list[str]:
    """Split an English text into sentences; line breaks end none.

    A run of `.`, `?` and `!` ends a sentence, closing quotation marks and brackets behind it included, unless it
    belongs to an abbreviation or an initial, or to an ellipsis or a number before a small letter.
    """
    parts: list[str] = []
    start = 0
    for end in _END.finditer(text):
        if _ends_sentence(text, start, end):
            rest = _REST.match(text, end.end())
            stop = rest.end() if rest else end.end()
            parts.append(text[start:stop].strip())
            start = stop
    return [part for part in (*parts, text[start:].strip()) if part]


def _ends_sentence(text: str, start: int, end: re.Match[str]) -> bool:
    if end[0][-1] in "?!":
        return True
    word = text[max(start, end.start() - 20) : end.start()].split()[-1:] or [""]
    bare = word[0].lstrip(_OPENING)
    following = _NEXT.match(text, end.end())
    opening = following[1].lstrip(_OPENING) if following else ""
    if len(end[0]) > 1 or not bare or bare.isdigit():
        return not opening[:1].islower()
    if _INITIALS.fullmatch(bare):
        return False
    if bare.lower() not in _ABBREVIATIONS:
        return True
    # A common word with a capital starts a sentence, even behind an abbreviation.
    return opening[:1].isupper() and opening.rstrip(",;:").lower() in STOP_WORDS


def words(text: str) -> list[str]:
    """Runs of letters, digits and underscores."""
    return _WORD.findall(text)


def bare_words(text: str) -> list[str]:
    """What white space separates once all ASCII punctuation is removed."""
    return text.translate(_PUNCTUATION).split()


def tokens(text: str) -> list[str]:
    """Words and signs of punctuation, contractions taken apart as in the Penn Treebank: `it's` is `it` and `'s`."""
    result: list[str] = []
    for part in _PARTS.findall(text):
        contraction = _CONTRACTION.search(part)
        if contraction:
            result += [part[: contraction.start()], contraction[0]]
        else:
            result.append(part)
    return result


def syllables(word: str) -> int:
    """Syllables of an English word in lower case: its groups of vowels, without a silent `e` at its end."""
    groups = len(_VOWELS.findall(word))
    silent = word.endswith("e") and not word.endswith(("le", "ee", "ie", "ye"))
    return max(groups - (silent and groups > 1), 1 if word else 0)


def is_emoji(character: str) -> bool:
    """Whether a character is an emoji of its own."""
    return bool(_EMOJI.match(character))


def language(text: str) -> str | None:
    """The language of a text as an ISO 639-1 code (`zh-cn` and `zh-tw` for Chinese); None where it has no letters.

    langdetect samples at random; its seed is fixed here to the one that reproduces the published IFEval numbers.

    Raises:
        UserError: langdetect is not installed.
    """
    langdetect = require("langdetect", "evaluation")
    langdetect.DetectorFactory.seed = 1
    try:
        return str(langdetect.detect(text))
    except langdetect.LangDetectException:
        return None


def compares(count: int, relation: str | None, threshold: int) -> bool:
    """Whether a count is `less than` or `at least` a threshold."""
    return count < threshold if relation == "less than" else count >= threshold
