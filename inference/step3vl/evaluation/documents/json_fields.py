"""How many fields of two JSON values differ, as OmniAI's OCR benchmark counts them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from step3vl.evaluation.documents.matching import assign

_MAX_ELEMENTS = 400
"""Elements of an array that are matched in any order; the assignment takes time in the cube of their number."""


def count_fields(value: Any) -> int:
    """The values that are no object and no array, at any depth."""
    if isinstance(value, dict):
        return sum(count_fields(child) for child in value.values())
    if isinstance(value, list):
        return sum(count_fields(child) for child in value)
    return 1


def field_differences(expected: Any, predicted: Any) -> int:
    """Fields that are missing, superfluous or different. Arrays are compared in any order."""
    if isinstance(expected, dict) and isinstance(predicted, dict):
        shared = expected.keys() & predicted.keys()
        only = [expected[name] for name in expected.keys() - shared]
        only += [predicted[name] for name in predicted.keys() - shared]
        changed = sum(field_differences(expected[name], predicted[name]) for name in shared)
        return changed + sum(map(count_fields, only))
    if isinstance(expected, list) and isinstance(predicted, list):
        return _array_differences(expected[:_MAX_ELEMENTS], predicted[:_MAX_ELEMENTS]) + sum(
            map(count_fields, expected[_MAX_ELEMENTS:] + predicted[_MAX_ELEMENTS:])
        )
    if isinstance(expected, dict | list) or isinstance(predicted, dict | list):
        return (count_fields(predicted) if expected is None else count_fields(expected)) or 1
    return int(expected != predicted or isinstance(expected, bool) != isinstance(predicted, bool))


def _array_differences(expected: Sequence[Any], predicted: Sequence[Any]) -> int:
    missing, superfluous = [count_fields(value) for value in expected], [count_fields(value) for value in predicted]
    total = sum(missing) + sum(superfluous)
    gains = np.zeros((len(expected), len(predicted)))
    for row, value in enumerate(expected):
        for column, other in enumerate(predicted):
            nested = isinstance(value, dict | list) and isinstance(other, dict | list)
            if nested or field_differences(value, other) == 0:
                gains[row, column] = missing[row] + superfluous[column] - field_differences(value, other)
    return total - round(sum(max(float(gains[pair]), 0.0) for pair in assign(-gains)))


def json_accuracy(expected: Any, predicted: Any) -> float:
    """One minus the differing fields over the expected ones, not below 0."""
    return max(0.0, 1 - field_differences(expected, predicted) / max(count_fields(expected), 1))
