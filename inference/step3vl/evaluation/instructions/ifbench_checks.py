"""Checks of IFBench (arXiv 2507.02833) that count: words, letters, sentences, ratios and repetitions.

The names of the arguments are those of the official file, and the rules those of the official checkers, also where
they are looser or stricter than the instruction reads. Numbers may come as floats.
"""

import re
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

from step3vl.evaluation.instructions.ifeval_checks import Check
from step3vl.evaluation.instructions.text import (
    EDGES,
    STOP_WORDS,
    bare_words,
    sentences,
    syllables,
    tokens,
    words,
)
from step3vl.evaluation.instructions.verbs import is_verb

_CONJUNCTIONS = frozenset({"and", "but", "for", "nor", "or", "so", "yet"})
_NAMES_TEXT = """
    Emma Liam Sophia Jackson Olivia Noah Ava Lucas Isabella Mason Mia Ethan Charlotte Alexander Amelia Benjamin Harper
    Leo Zoe Daniel Chloe Samuel Lily Matthew Grace Owen Abigail Gabriel Ella Jacob Scarlett Nathan Victoria Elijah
    Layla Nicholas Audrey David Hannah Christopher Penelope Thomas Nora Andrew Aria Joseph Claire Ryan Stella Jonathan
"""
_NAMES = frozenset(_NAMES_TEXT.split())
_PRONOUNS_TEXT = """
    i me we us you he him she her it they them my mine our ours your yours his hers its their theirs myself ourselves
    yourself yourselves himself herself itself themselves this that these those who whom whose which what whoever
    whomever whatever whichever anybody anyone anything everybody everyone everything nobody nothing somebody someone
    something each either neither both all some any none
"""
_PRONOUNS = frozenset(_PRONOUNS_TEXT.split())
_JAPANESE = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
_CONSONANT_PAIR = re.compile("[bcdfghjklmnpqrstvwxyz]{2}")
_PRIMES = frozenset({2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97})
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def word_count_range(response: str, *, min_words: float, max_words: float) -> bool:
    """The number of words lies in a range, its ends included."""
    return min_words <= len(words(response)) <= max_words


def unique_word_count(response: str, *, N: float) -> bool:
    """There are at least N different words, in any case."""
    return len({word.strip(EDGES) for word in response.lower().split()}) >= N


def stop_words(response: str, *, percentage: float) -> bool:
    """Stop words are at most this percentage of all words."""
    all_words = words(response.lower())
    return bool(all_words) and 100 * sum(word in STOP_WORDS for word in all_words) / len(all_words) <= percentage


def sentence_type(response: str) -> bool:
    """There are twice as many sentences with a full stop as with a question mark."""
    ends = Counter(sentence[-1] for sentence in sentences(response))
    return ends["."] == 2 * ends["?"]


def sentence_balance(response: str) -> bool:
    """There are as many sentences with a full stop as with a question mark and with an exclamation mark."""
    ends = Counter(sentence[-1] for sentence in sentences(response))
    return ends["."] == ends["?"] == ends["!"]


def conjunctions(response: str, *, small_n: float) -> bool:
    """At least this many different coordinating conjunctions occur; another case counts as different."""
    return len({word for word in response.split() if word.strip(EDGES).lower() in _CONJUNCTIONS}) >= small_n


def person_names(response: str, *, N: float) -> bool:
    """At least N of the fifty listed names occur."""
    return len(set(words(response)) & _NAMES) >= N


def overlap(response: str, *, reference_text: str, percentage: float) -> bool:
    """The share of the response's trigrams of characters that the reference has, too, is as asked, within 2 %."""
    ours, reference = (set(zip(text, text[1:], text[2:], strict=False)) for text in (response, reference_text))
    return bool(ours) and abs(100 * len(ours & reference) / len(ours) - percentage) <= 2


def numbers(response: str, *, N: float) -> bool:
    """Exactly N numbers occur; signs of punctuation do not divide them."""
    return len(re.findall(r"\d+", " ".join(bare_words(response)))) == N


def alphabet(response: str) -> bool:
    """Each word starts with the next letter of the alphabet."""
    initials = [word[0].lower() for word in bare_words(response)]
    if not initials or initials[0] not in _ALPHABET:
        return False
    start = _ALPHABET.index(initials[0])
    return all(letter == _ALPHABET[(start + index) % 26] for index, letter in enumerate(initials))


def vowel(response: str) -> bool:
    """A single paragraph with at most three of the five vowels."""
    text = response.strip().lower()
    return "\n" not in text and len(set(text) & set("aeiou")) <= 3


def consonants(response: str) -> bool:
    """Each word has two consonants in a row."""
    return all(_CONSONANT_PAIR.search(word) for word in response.lower().split())


def alliteration_increment(response: str) -> bool:
    """Each sentence has more words next to one with the same first letter than the sentence before."""
    counts = [_alliterations(sentence) for sentence in sentences(response)]
    return all(first < second for first, second in pairwise([-1, *counts]))


def _alliterations(sentence: str) -> int:
    initials = [word[0] for word in (word.lstrip(EDGES) for word in sentence.lower().split()) if word]
    equal = [first == second for first, second in pairwise(initials)]
    runs = sum(now and not before for before, now in pairwise([False, *equal]))
    return sum(equal) + runs


def palindrome(response: str) -> bool:
    """At least ten words of five letters or more are palindromes."""
    return sum(len(word) >= 5 and word == word[::-1] for word in bare_words(response.lower())) >= 10


def words_japanese(response: str, *, N: float) -> bool:
    """Every Nth word has a Japanese character, unless it is a number or nothing but punctuation."""
    stripped = [word.strip(EDGES) for word in response.split()]
    return all(not word or word.isdigit() or _JAPANESE.search(word) for word in stripped[int(N) - 1 :: int(N)])


def prime_lengths(response: str) -> bool:
    """The length of each word is a prime number."""
    return all(len(word) in _PRIMES for word in bare_words(response))


def start_verb(response: str) -> bool:
    """The first word is a verb."""
    first = words(response)[:1]
    return bool(first) and is_verb(first[0])


def repeats(response: str, *, small_n: float) -> bool:
    """No word occurs more often than this."""
    return all(count <= small_n for count in Counter(bare_words(response.lower())).values())


def sentence_keyword(response: str, *, word: str, N: float) -> bool:
    """The Nth sentence has a word, in any case."""
    all_sentences = sentences(response)
    position = int(N) - 1
    return position < len(all_sentences) and bool(
        re.search(rf"\b{re.escape(word)}\b", all_sentences[position], re.IGNORECASE)
    )


def pronouns(response: str, *, N: float) -> bool:
    """At least N pronouns occur."""
    return sum(token in _PRONOUNS for token in tokens(response.lower().replace("/", " "))) >= N


def odd_even_syllables(response: str) -> bool:
    """Words with odd and even numbers of syllables alternate."""
    parities = [syllables(word) % 2 for word in bare_words(response.lower())]
    return all(first != second for first, second in pairwise(parities))


def last_first(response: str) -> bool:
    """The last word of each sentence is the first of the next one."""
    for first, second in pairwise(sentences(response.lower())):
        endings, beginnings = first.rstrip(EDGES).split(), second.lstrip(EDGES).split()
        if not endings or not beginnings or endings[-1] != beginnings[0]:
            return False
    return True


def paragraph_last_first(response: str) -> bool:
    """Each line ends with the word that it starts with."""
    lines = [line.strip().strip(EDGES).split() for line in response.lower().split("\n")]
    return all(not line or line[0] == line[-1] for line in lines)


def increment(response: str, *, small_n: float) -> bool:
    """Each sentence has exactly so many words more than the one before."""
    counts = [len(bare_words(sentence)) for sentence in sentences(response)]
    return all(second == first + small_n for first, second in pairwise(counts))


def no_consecutive(response: str) -> bool:
    """No two words in a row have the same first letter."""
    return all(first[0] != second[0] for first, second in pairwise(bare_words(response.lower())))


def keywords_multiple(response: str, **keywords: str) -> bool:
    """Five keywords occur exactly once, twice, and three, five and seven times, also inside words."""
    text = response.lower()
    counts = zip((f"keyword{number}" for number in range(1, 6)), (1, 2, 3, 5, 7), strict=True)
    return all(text.count(keywords[name].strip().lower()) == count for name, count in counts)


def keywords_specific_position(response: str, *, keyword: str, n: float, m: float) -> bool:
    """The mth word of the nth sentence is a keyword."""
    all_sentences = sentences(response)
    if len(all_sentences) < n:
        return False
    spoken = [token for token in tokens(all_sentences[int(n) - 1]) if any(map(str.isalnum, token))]
    return len(spoken) >= m and spoken[int(m) - 1].lower() == keyword.strip().lower()


def words_position(response: str, *, keyword: str) -> bool:
    """The second word and the last but one are a keyword; a sign of punctuation at the end does not count."""
    all_tokens = [token.lower() for token in tokens(response)]
    if all_tokens and all_tokens[-1] in EDGES:
        all_tokens.pop()
    return len(all_tokens) > 1 and all_tokens[1] == all_tokens[-2] == keyword.strip().lower()


IFBENCH_CHECKS: Mapping[str, Check] = {
    "count:word_count_range": word_count_range,
    "count:unique_word_count": unique_word_count,
    "count:conjunctions": conjunctions,
    "count:person_names": person_names,
    "count:numbers": numbers,
    "count:words_japanese": words_japanese,
    "count:pronouns": pronouns,
    "count:keywords_multiple": keywords_multiple,
    "ratio:stop_words": stop_words,
    "ratio:sentence_type": sentence_type,
    "ratio:sentence_balance": sentence_balance,
    "ratio:overlap": overlap,
    "sentence:alliteration_increment": alliteration_increment,
    "sentence:keyword": sentence_keyword,
    "sentence:increment": increment,
    "words:alphabet": alphabet,
    "words:vowel": vowel,
    "words:consonants": consonants,
    "words:palindrome": palindrome,
    "words:prime_lengths": prime_lengths,
    "words:start_verb": start_verb,
    "words:repeats": repeats,
    "words:odd_even_syllables": odd_even_syllables,
    "words:last_first": last_first,
    "words:paragraph_last_first": paragraph_last_first,
    "words:no_consecutive": no_consecutive,
    "words:keywords_specific_position": keywords_specific_position,
    "words:words_position": words_position,
}
"""One line for each."""
