"""LiveBench's tasks of language."""

import difflib

from rapidfuzz.distance import Levenshtein

from step3vl.evaluation.livebench.marks import between, bold, boxed, plain, solutions

_MAX_SENTENCES, _MAX_SENTENCE = 200, 500
"""Of a response whose sentences are put into order, and characters of each; summaries have some forty."""


def connections(truth: str, response: str) -> float:
    """The share of groups of four words that are right, in tags or in the box."""
    expected = truth.split(",")
    lists = solutions(response) or solutions(response.replace("\n", ""))
    content = boxed(response)
    if not lists and content is not None:
        lists = [plain(content)]
    words = [word for text in lists for word in text.replace("\n", "").split(",")]
    if len(lists) > 1:
        words = words[-len(expected) :]
    groups, right = _groups(words), _groups(expected)
    return sum(group in right for group in groups) / len(right)


def connections_2024(truth: str, response: str) -> float:
    """The rule before the release 2024-11-25: the best of the bold lists of words."""
    right = _groups(truth.split(","))
    best = 0.0
    for text in bold(response.replace("\n", "")):
        groups = _groups(text.split(","))
        best = max(best, sum(any(expected <= group for group in groups) for expected in right) / len(right))
    return best


def _groups(words: list[str]) -> list[set[str]]:
    """Words by fours; a repeated word does not fill a place."""
    groups: list[set[str]] = [set()]
    for word in words:
        if len(groups[-1]) == 4:
            groups.append(set())
        groups[-1].add(word.strip().lower())
    return groups


def typos(truth: str, response: str) -> float:
    """The corrected text occurs in the last tags, or in the response, line breaks as spaces."""
    parts = between(response, "<solution>", "</solution>")
    if parts:
        text = parts[-1]
    else:
        text = response.replace("<solution>", "").replace("</solution>", "")
        text = next(iter(between(text, " --- ", " --- ")), text)
    return float(truth in " ".join(line for line in text.strip().split("\n") if line))


def plot_unscrambling(truth: str, response: str) -> float:
    """One minus the edit distance of the order of sentences to the true one, over their number.

    Each true sentence stands for the most similar one of the response.
    """
    opening, closing = "<PLOT_SUMMARY>", "</PLOT_SUMMARY>"
    _, is_tagged, summary = response.partition(opening)
    summary = summary.rpartition(closing)[0] if closing in summary else summary
    summary = summary if is_tagged else response
    expected = [sentence.strip() for sentence in truth.split(".") if sentence.strip()]
    ignored = ("", closing, "**End of Plot Summary**")
    parts = (part.strip() for part in summary.split("."))
    sentences = [part[:_MAX_SENTENCE] for part in parts if part not in ignored][:_MAX_SENTENCES]
    order: list[int] = []
    for sentence in expected:
        closest = difflib.get_close_matches(sentence, sentences, n=1, cutoff=0.0)
        order += [sentences.index(closest[0])] if closest else []
    return 1 - Levenshtein.distance(list(range(len(expected))), order) / len(expected)
