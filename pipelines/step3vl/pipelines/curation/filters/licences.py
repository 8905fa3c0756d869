"""Licences that samples may have."""

import fnmatch
from collections.abc import Sequence

from pydantic import Field

from step3vl.pipelines.curation.filters.view import Filter, Finding, SampleView


class LicenceFilter(Filter):
    """Samples whose source has a licence that is not on a list."""

    allow: tuple[str, ...] = Field(min_length=1)
    """Patterns of SPDX identifiers in any case, such as `CC-BY-*`; `unknown` allows sources without one."""

    def find(self, sample: SampleView) -> Finding | None:
        licence = sample.row["source"]["licence"]
        return None if is_allowed(licence, self.allow) else Finding("licence", detail=licence)


def is_allowed(licence: str, patterns: Sequence[str]) -> bool:
    """Whether a licence matches one of the patterns. Of an SPDX expression with AND every part must, with OR one."""
    expression = licence.strip("() ")
    if " AND " in expression:
        return all(is_allowed(part, patterns) for part in expression.split(" AND "))
    if " OR " in expression:
        return any(is_allowed(part, patterns) for part in expression.split(" OR "))
    return any(fnmatch.fnmatchcase(expression.casefold(), pattern.casefold()) for pattern in patterns)
