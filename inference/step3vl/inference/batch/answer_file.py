"""The file of answers: one JSON line per question, appended in the order in which they finish.

A killed process leaves at most one partial line, which the next one truncates before it continues.
"""

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NotRequired, Self, TypedDict

from step3vl.data.errors import UserError
from step3vl.data.storage import write_durably
from step3vl.inference.client.sampling import Sampling
from step3vl.inference.pacore import PaCoReConfig

FinishedStatus = Literal["ok", "failed"]


class Reply(TypedDict, total=False):
    """What a question is answered with."""

    answer: str
    reasoning: str
    reasoning_ended: bool
    finish_reason: str
    usage: dict[str, Any] | None
    tool_calls: list[dict[str, Any]]
    pacore: dict[str, Any]


class AnswerRow(Reply):
    """One line of the file. A failed row has `error`, the others have the reply."""

    id: str
    status: FinishedStatus
    error: NotRequired[str]
    seconds: NotRequired[float]
    fields: NotRequired[dict[str, Any]]


class AnswerFile:
    """An answer file, locked by one process at a time. `done` holds the ids that it contains.

    Args:
        path: The file; its settings are kept beside it as `NAME.settings.json`.
        settings: What the answers depend on, as JSON values.
        retry_failed: Whether rows that failed are removed, so that their questions are asked again.

    Raises:
        UserError: The file was started with other settings, is not an answer file, or is being written.
    """

    def __init__(self, path: Path, settings: dict[str, Any], retry_failed: bool = False):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            self._lock()
            self._check_settings(settings)
            self.done = self._repair(retry_failed)
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.fsync(self._file)
        os.close(self._file)

    def write(self, row: AnswerRow) -> None:
        """Append a row and add its id to `done`."""
        line = json.dumps(row, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
        while line:
            line = line[os.write(self._file, line) :]
        self.done.add(row["id"])

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = os.fstat(self._file).st_ino == self.path.stat().st_ino  # not a file that was replaced meanwhile
        except (BlockingIOError, FileNotFoundError):
            locked = False
        if not locked:
            raise UserError(f"{self.path}: another batch is writing it; wait for that one or give another file")

    def _check_settings(self, settings: dict[str, Any]) -> None:
        path = self.path.with_name(f"{self.path.name}.settings.json")
        expected = _comparable(json.loads(json.dumps(settings)))
        if not path.exists():
            if os.fstat(self._file).st_size:
                raise UserError(f"{self.path}: exists and was not written by a batch; give another file")
            write_durably(path, json.dumps(expected, indent=1).encode())
            return
        started = _comparable(json.loads(path.read_text(encoding="utf-8")))
        for name in sorted({*started, *expected}):
            if started.get(name) != expected.get(name):
                raise UserError(
                    f"{self.path}: was started with {name} = {json.dumps(started.get(name))}, not "
                    f"{json.dumps(expected.get(name))}; give another file, or the same settings to resume"
                )

    def _repair(self, retry_failed: bool) -> set[str]:
        """Truncate a partial last line; return the ids of the complete ones."""
        done: set[str] = set()
        size = 0
        kept: list[bytes] = []
        removed = False
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                size += len(line)
                try:
                    row = json.loads(line)
                    id_, failed = row["id"], row["status"] == "failed"
                except (ValueError, LookupError, TypeError):
                    raise UserError(f"{self.path}: a line is no answer of a batch: {line[:80]!r}") from None
                if retry_failed and failed:
                    removed = True
                    continue
                done.add(id_)
                if retry_failed:
                    kept.append(line)
        if removed:
            self._replace(b"".join(kept))
        else:
            os.ftruncate(self._file, size)
        return done

    def _replace(self, content: bytes) -> None:
        """Replace the file by a new one, which is locked before it takes the path."""
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        file = os.open(temporary, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o644)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(file, content)
        os.fsync(file)
        temporary.replace(self.path)
        os.close(self._file)
        self._file = file


def _comparable(settings: dict[str, Any]) -> dict[str, Any]:
    """Rename and complete what an earlier version wrote, so that its file can be resumed.

    PaCoRe's own `sampling` and `seed` are left out: a batch replaces them.
    """
    sampling, pacore = settings.get("sampling"), settings.get("pacore")
    if isinstance(sampling, dict):
        settings = {**settings, "sampling": {**Sampling().model_dump(mode="json"), **sampling}}
    if isinstance(pacore, dict):
        renamed = {PaCoReConfig.RENAMED.get(name, name): value for name, value in pacore.items()}
        settings = {**settings, "pacore": {k: v for k, v in renamed.items() if k not in ("sampling", "seed")}}
    return settings
