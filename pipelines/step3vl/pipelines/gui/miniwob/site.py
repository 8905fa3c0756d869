"""The pages of MiniWoB++, from the wheel of the package."""

import posixpath
import zipfile
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from step3vl.pipelines.gui.site import ORIGIN, Reply, content_type

_ROOT = "miniwob/html/"
_TASKS = f"{_ROOT}miniwob/"


class MiniWobSite:
    """The page of a task, and what it loads.

    Args:
        wheel: The wheel of `miniwob`, or any ZIP file with its folder.
        task: Its name, such as `click-test`.

    Raises:
        ValueError: It is no such wheel, or has no such task.
    """

    def __init__(self, wheel: Path, task: str) -> None:
        if task not in task_names(wheel):
            raise ValueError(f"{wheel.name} has no task {task!r}")
        self._wheel, self._task = wheel, task

    @property
    def start(self) -> str:
        return f"{ORIGIN}miniwob/{self._task}.html"

    def holds(self, url: str) -> bool:
        return self.reply(url) is not None

    def reply(self, url: str) -> Reply | None:
        parts = urlsplit(url)
        name = posixpath.normpath(unquote(parts.path).lstrip("/"))
        if f"{parts.scheme}://{parts.netloc}/" != ORIGIN or name.startswith(".."):
            return None
        body = _read(self._wheel, _ROOT + name)
        return None if body is None else Reply(body, content_type(name))


@lru_cache(maxsize=4)
def task_names(wheel: Path) -> tuple[str, ...]:
    """The tasks of a wheel, sorted.

    Raises:
        ValueError: It is no wheel of `miniwob`.
    """
    names = sorted(
        name.removeprefix(_TASKS).removesuffix(".html")
        for name in _archive(wheel).namelist()
        if name.startswith(_TASKS) and name.endswith(".html")
    )
    if not names:
        raise ValueError(f"{wheel.name} has no pages below {_TASKS}: it is no wheel of miniwob")
    return tuple(names)


@lru_cache(maxsize=256)
def _read(wheel: Path, name: str) -> bytes | None:
    try:
        return _archive(wheel).read(name)
    except KeyError:
        return None


@lru_cache(maxsize=4)
def _archive(wheel: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(wheel)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{wheel.name} is no wheel: {error}") from None
