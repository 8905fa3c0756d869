"""Files that a configuration names by patterns."""

import glob
from collections.abc import Sequence
from pathlib import Path

from step3vl.data.errors import UserError


def expand(patterns: Sequence[str], what: str) -> list[Path]:
    """The files that match, sorted and each once. Raises UserError naming the pattern that matches nothing."""
    found: set[Path] = set()
    for pattern in patterns:
        # Path.glob takes no absolute pattern.
        matches = [Path(match) for match in glob.glob(pattern, recursive=True) if Path(match).is_file()]  # noqa: PTH207
        if not matches:
            raise UserError(f"{what}: no file matches {pattern!r} from {Path.cwd()}; correct the pattern")
        found.update(matches)
    return sorted(found)
