"""Which predicted lines a page's annotated blocks were read as: OmniDocBench's quick match, of its version 1.5.

In order: consecutive predictions are joined where that brings them nearer to a block; blocks and predictions are
assigned by edit distance, and assignments worse than `_FAR` dissolved; a block that stands inside a prediction is
joined to it; what is left is assigned as well as it can be. So a prediction may hold several blocks, and a block
several predictions.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

_NEAR = 0.25
"""Normalised edit distance below which a block and a prediction are settled."""
_FAR = 0.7
_INSIDE = 0.4
_JOINED = 0.6


class Match(NamedTuple):
    """Blocks and the predictions that they were read as, by index; no predictions where a block was missed."""

    truth: list[int]
    predicted: list[int]


def quick_match(truth: Sequence[str], predicted: Sequence[str]) -> list[Match]:
    """Match non-empty texts.

    Args:
        truth: Of the annotated blocks, normalised.
        predicted: Of the predicted ones, normalised, by their places.
    """
    windows = _Windows(truth, predicted)
    costs = distances(truth, predicted)
    places = _joined_places(costs, truth, predicted, windows)
    if any(len(place) > 1 for place in places):
        costs = distances(truth, [" ".join(predicted[index] for index in place) for place in places])
    groups: dict[tuple[int, ...], list[int]] = {}
    missed: list[int] = []
    assigned = dict(assign(costs))
    for index in range(len(truth)):
        if index in assigned and costs[index, assigned[index]] <= _FAR:
            groups.setdefault(tuple(places[assigned[index]]), []).append(index)
        else:
            missed.append(index)
    taken = {index for group in groups.values() for index in group}
    for place in range(len(predicted)):
        inside = [index for index in missed if windows.truth_in_prediction(index, place) < _INSIDE]
        if inside:
            key = next((joined for joined in groups if place in joined), (place,))
            groups.setdefault(key, []).extend(index for index in inside if index not in taken)
            taken.update(inside)
    matches = [Match(sorted(set(group)), list(places)) for places, group in groups.items() if group]
    return matches + _rest(truth, predicted, groups)


def distances(truth: Sequence[str], predicted: Sequence[str]) -> np.ndarray:
    """Normalised edit distances, `(blocks, predictions)`."""
    rows = [[Levenshtein.normalized_distance(line, other) for other in predicted] for line in truth]
    return np.array(rows, np.float64).reshape(len(truth), len(predicted))


def assign(costs: np.ndarray) -> list[tuple[int, int]]:
    """The one-to-one assignment of rows to columns with the least sum, as pairs in the order of the rows."""
    from scipy.optimize import linear_sum_assignment  # slow to import

    rows, columns = linear_sum_assignment(costs)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


class _Windows:
    """The least distances of a text to the substrings of its length in another one, computed once each."""

    def __init__(self, truth: Sequence[str], predicted: Sequence[str]) -> None:
        self.prediction_in_truth = cache(lambda index, place: _least(truth[index], predicted[place]))
        self.truth_in_prediction = cache(lambda index, place: _least(predicted[place], truth[index]))


def _least(text: str, part: str) -> float:
    """The least distance of `part` to a substring of its length, over that length; infinite where it is longer."""
    windows = [text[start : start + len(part)] for start in range(len(text) - len(part) + 1)]
    nearest = process.extractOne(part, windows, scorer=Levenshtein.distance)
    return nearest[1] / len(part) if nearest else float("inf")


def _joined_places(
    costs: np.ndarray, truth: Sequence[str], predicted: Sequence[str], windows: _Windows
) -> list[list[int]]:
    """The predictions as they are assigned: by index, and several consecutive ones where they are joined."""
    near = np.argwhere(costs < _NEAR)
    settled_truth, settled = {int(row) for row, _ in near}, {int(column) for _, column in near}
    runs: list[tuple[list[int], float]] = []
    for index in range(len(truth)):
        candidates = [
            _run(index, place, truth, predicted, settled, windows)
            for place in range(len(predicted))
            if index not in settled_truth and place not in settled
        ]
        if candidates:
            runs.append(min(candidates, key=lambda run: run[1]))
    places = [[place] for place in range(len(predicted))]
    for run in _compatible(runs):
        start = places.index([run[0]])
        places[start : start + len(run)] = [run]
    return places


def _run(
    index: int, start: int, truth: Sequence[str], predicted: Sequence[str], settled: set[int], windows: _Windows
) -> tuple[list[int], float]:
    """The predictions from `start` on that are joined for a block, and their distance to it."""
    line, end = truth[index], start + 1
    while end not in settled and end < len(predicted):
        before, joined = " ".join(predicted[start:end]), " ".join(predicted[start : end + 1])
        if Levenshtein.normalized_distance(line, joined) > Levenshtein.normalized_distance(line, before):
            break
        if any(windows.prediction_in_truth(index, place) > _JOINED for place in range(start, end)):
            break
        if windows.prediction_in_truth(index, end) >= _JOINED:
            break
        end += 1
        if len(joined) > len(line):
            break
    return list(range(start, end)), Levenshtein.normalized_distance(line, " ".join(predicted[start:end]))


def _compatible(runs: Sequence[tuple[list[int], float]]) -> list[list[int]]:
    """Runs that do not overlap: of those that do, the set with the least mean distance."""
    groups: list[list[tuple[list[int], float]]] = []
    for run in sorted(runs, key=lambda run: run[0][0]):
        if groups and any(set(run[0]) & set(other[0]) for other in groups[-1]):
            groups[-1].append(run)
        else:
            groups.append([run])
    chosen: list[list[int]] = []
    for group in groups:
        paths: list[list[tuple[list[int], float]]] = [[group[0]]]
        for run in group[1:]:
            if not _extend(paths, run):
                paths.append([run])
        best = min(paths, key=lambda path: sum(cost for _, cost in path) / len(path))
        chosen += [run for run, _ in best]
    return chosen


def _extend(paths: list[list[tuple[list[int], float]]], run: tuple[list[int], float]) -> bool:
    """Put a run into the sets that it does not overlap, or in the place of itself; whether there were any."""
    extended = False
    for path in paths:
        same = [other for other in path if other[0] == run[0]]
        if same:
            if same[0][1] > run[1]:
                path.remove(same[0])
                path.append(run)
            extended = True
        elif not any(set(other[0]) & set(run[0]) for other in path):
            path.append(run)
            extended = True
    return extended


def _rest(truth: Sequence[str], predicted: Sequence[str], groups: dict[tuple[int, ...], list[int]]) -> list[Match]:
    """Blocks that nothing has matched yet, with what is left of the predictions."""
    # The order of these sets decides between equal distances, as in the original.
    blocks = list(set(range(len(truth))) - {index for group in groups.values() for index in group})
    places = list(set(range(len(predicted))) - {place for key in groups for place in key})
    costs = distances([truth[index] for index in blocks], [predicted[place] for place in places])
    pairs: dict[int, list[int]] = defaultdict(list)
    matches = []
    for row, column in assign(costs):
        pairs[blocks[row]].append(places[column])
        matches.append(Match([blocks[row]], [places[column]]))
    return matches + [Match([index], []) for index in sorted(blocks) if index not in pairs]
