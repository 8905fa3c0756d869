"""Files that a configuration names by patterns."""

import glob
from collections.abc import Sequence
from pathlib import Path

from step3vl.data.errors import UserError


def match_files(patterns: Sequence[str], entry: str) -> list[Path]:
    """The files that match shell patterns, sorted and each once.

    Args:
        patterns: Absolute, or relative to the working directory; `**` matches any folders.
        entry: The name of the entry, for the error.

    Raises:
        UserError: A pattern matches nothing.
    """
    paths: set[Path] = set()
    for pattern in patterns:
        # Path.glob takes no absolute pattern.
        matches = [Path(match) for match in glob.glob(pattern, recursive=True) if Path(match).is_file()]  # noqa: PTH207
        if not matches:
            raise UserError(f"{entry}: no file matches {pattern!r} from {Path.cwd()}; correct the pattern")
        paths.update(matches)
    return sorted(paths)
