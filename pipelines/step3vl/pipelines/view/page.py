"""The progress of a build as a page in its staging root, which reloads itself while the build runs."""

import time
from datetime import UTC, datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from step3vl.data.storage import DEFAULT_STORE, Store, StoreConfig
from step3vl.pipelines.view.progress import BuildProgress, byte_size, duration

PAGE = "progress.html"
_INTERVAL = 5.0  # seconds between two versions of the page
_MOST_FAILURES = 200  # rows


class ProgressPage:
    """Writes `progress.html`.

    Args:
        root: URL of the staging root.
        store: How a remote store is used.
    """

    def __init__(self, root: str, store: StoreConfig = DEFAULT_STORE) -> None:
        self._store = Store(root, store)
        self._written = 0.0

    def show(self, progress: BuildProgress, now: float) -> None:
        if progress.ended is None and time.monotonic() - self._written < _INTERVAL:
            return
        self._written = time.monotonic()
        self._store.put(PAGE, render_page(progress, now).encode())

    def close(self) -> None:
        pass


def render_page(progress: BuildProgress, now: float) -> str:
    """HTML that refers to no other file.

    Args:
        progress: The build.
        now: Unix time.
    """
    failures = [failure for segment in progress.segments.values() for failure in segment.failures()]
    failures.sort(key=lambda failure: (failure.dropped, -failure.records))
    return _template().render(
        build=progress,
        segments=list(progress.segments.values()),
        failures=failures[:_MOST_FAILURES],
        more_failures=max(len(failures) - _MOST_FAILURES, 0),
        now=now,
        refresh=round(_INTERVAL),
    )


def html_environment(package: str) -> Environment:
    """The templates in the folder `templates` of a package: all values are escaped, and missing ones are errors."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _template() -> Template:
    environment = html_environment("step3vl.pipelines.view")
    environment.filters |= {
        "duration": duration,
        "bytes": byte_size,
        "count": lambda number: f"{number:,.0f}",
        "clock": lambda seconds: f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC",
    }
    return environment.get_template("progress.html.j2")
