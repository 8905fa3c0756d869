"""Searching images by keywords: what a search engine has to answer, and one over the captions of local files.

The local engine is a full-text index in SQLite (FTS5, ranked by BM25). It is built once on each machine from files of
pairs, into the cache of the user, by reading captions alone: the image of a hit is read, or fetched, when it is found.
"""

import fcntl
import hashlib
import json
import math
import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import FileSource
from step3vl.pipelines.core.inputs import InputFile, list_pattern
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.sources.pairs.image_text import PairSlice
from step3vl.pipelines.sources.pairs.pair_reader import PairReader, slices_of_file
from step3vl.pipelines.sources.text.words import content_words

_VERSION = 1  # of the index
_KEPT = 8  # indexes on a machine
_TABLES = """
CREATE TABLE files (id INTEGER PRIMARY KEY, file TEXT NOT NULL);
CREATE TABLE pairs (id INTEGER PRIMARY KEY, file INTEGER NOT NULL, kind TEXT NOT NULL, start INTEGER NOT NULL,
    stop INTEGER NOT NULL, key TEXT NOT NULL, caption TEXT NOT NULL);
CREATE TABLE totals (pairs INTEGER NOT NULL);
CREATE VIRTUAL TABLE captions USING fts5(words, content='', tokenize='unicode61 remove_diacritics 0');
CREATE VIRTUAL TABLE vocabulary USING fts5vocab(captions, 'row');
"""


class ImageHit(NamedTuple):
    """An image that was found.

    Attributes:
        part: The slice of the file that has it.
        key: Of the pair in the slice.
        caption: That matched.
        score: How well, by BM25; higher is better.
    """

    part: PairSlice
    key: str
    caption: str
    score: float


class ImageSearch(Protocol):
    """A search engine for images."""

    def search(self, keyword: str, limit: int) -> list[ImageHit]:
        """The best images for a keyword, the best first; equal ones in an order that stays."""

    def rarity(self, word: str) -> float:
        """The inverse document frequency of a content word; 0 for one that would find nothing."""


class CaptionIndex:
    """The local engine.

    Args:
        path: Of the index.
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True, check_same_thread=False)
        self.size: int = self._database.execute("SELECT pairs FROM totals").fetchone()[0]

    def search(self, keyword: str, limit: int) -> list[ImageHit]:
        """The pairs whose caption has all words of a keyword next to each other."""
        words = content_words(keyword)
        if not words:
            return []
        rows = self._database.execute(
            "SELECT files.file, kind, start, stop, key, caption, -found.rank FROM "
            "(SELECT rowid, rank FROM captions WHERE captions MATCH ? ORDER BY rank, rowid LIMIT ?) AS found "
            "JOIN pairs ON pairs.id = found.rowid JOIN files ON files.id = pairs.file ORDER BY found.rank, pairs.id",
            ('"' + " ".join(words) + '"', limit),
        )
        return [
            ImageHit(
                PairSlice(file=InputFile.model_validate_json(file), kind=kind, start=start, stop=stop),
                key,
                caption,
                round(score, 4),
            )
            for file, kind, start, stop, key, caption, score in rows
        ]

    def rarity(self, word: str) -> float:
        """The logarithm of all captions over those with a word."""
        row = self._database.execute("SELECT doc FROM vocabulary WHERE term = ?", (word,)).fetchone()
        return math.log((self.size + 1) / row[0]) if row else 0.0

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def caption_index(sources: Sequence[FileSource], entry: str, context: StepContext) -> CaptionIndex:
    """The index of files of pairs, built unless this machine has it.

    Args:
        sources: The files.
        entry: The name of the entry, for errors.
        context: What the code of a step may ask of.

    Raises:
        UserError: A pattern matches nothing.
        InfrastructureError: A file cannot be read.
    """
    files = [
        file
        for source in sources
        for pattern in source.files
        for file in list_pattern(
            pattern,
            source.licence,
            entry=entry,
            base=context.base,
            store=context.store,
            optional=source.optional,
        )
    ]
    files.sort(key=lambda file: (file.key, file.url))
    names = json.dumps([_VERSION, *([file.key, file.url, file.size, file.version, file.licence] for file in files)])
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "step3vl" / "captions"
    path = folder / f"{hashlib.sha256(names.encode()).hexdigest()[:32]}.sqlite"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_suffix(".lock")):
        if not path.exists():
            temporary = folder / f".{path.name}.{uuid.uuid4().hex}"
            try:
                _build(temporary, files, context)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            _remove_old(folder)
    return CaptionIndex(path)


def _build(path: Path, files: Sequence[InputFile], context: StepContext) -> None:
    reader = PairReader((1, 1), 1.0, (), None, "", context.store)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_TABLES} BEGIN;")
        for number, file in enumerate(files):
            database.execute("INSERT INTO files VALUES (?, ?)", (number, file.model_dump_json()))
            for part, key, caption in _captions(reader, file, context.local_path(file)):
                inserted = database.execute(
                    "INSERT INTO pairs (file, kind, start, stop, key, caption) VALUES (?, ?, ?, ?, ?, ?)",
                    (number, part.kind, part.start, part.stop, key, caption),
                )
                words = " ".join(content_words(caption))
                database.execute("INSERT INTO captions (rowid, words) VALUES (?, ?)", (inserted.lastrowid, words))
        database.execute("INSERT INTO totals SELECT count(*) FROM pairs")
        database.execute("INSERT INTO captions (captions) VALUES ('optimize')")
        database.execute("COMMIT")


def _captions(reader: PairReader, file: InputFile, path: Path) -> Iterator[tuple[PairSlice, str, str]]:
    try:
        for part in slices_of_file(path, file):
            if part.damage:
                continue  # what is lost cannot be found
            for raw in reader.captions(part, path):
                if not raw.reason:
                    for each in raw.texts:
                        yield part, raw.key, each.text
    except Dropped:
        return  # a file of something else has nothing to find


def _remove_old(folder: Path) -> None:
    """Keep the indexes that were built last. A process that has opened an older one reads on."""
    built = sorted(folder.glob("*.sqlite"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in built[_KEPT:]:
        path.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock among the processes of this machine."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
