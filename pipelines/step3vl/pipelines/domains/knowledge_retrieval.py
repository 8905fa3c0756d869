"""Images found for keywords of knowledge texts, each with the passage that the keyword is from.

After the keyword retrieval of the STEP3-VL-10B report, section 2.2, where commercial engines were asked. The engine
here is an index of captions (`sources.pairs.image_search`), and whatever answers `ImageSearch` can take its place. A
found image is kept only if its caption and the passage have more in common than the keyword; a judge on a server may
look at both besides. New texts are not offered: what the sample teaches is the passage.
"""

import random
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.sample import Sample, Source
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, DomainEntry, Files, FileSource, IntRange
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.knowledge_drafts import PASSAGE_JUDGE_STEP, Draft, WriteDrafts, check_prompts
from step3vl.pipelines.domains.knowledge_phrasings import knowledge_request, language_of
from step3vl.pipelines.domains.knowledge_sources import OPEN_SECONDS, PAGE_SECONDS
from step3vl.pipelines.domains.text_parts import FilePart, SplitFiles
from step3vl.pipelines.models.judge import JudgeConfig
from step3vl.pipelines.models.language import is_foreign
from step3vl.pipelines.models.similarity import detail
from step3vl.pipelines.sources.pairs.image_search import ImageHit, ImageSearch, caption_index
from step3vl.pipelines.sources.pairs.pair_reader import PairReader
from step3vl.pipelines.sources.text.corpora import CorpusError, Part, read_documents
from step3vl.pipelines.sources.text.keywords import mine_keywords
from step3vl.pipelines.sources.text.words import content_words
from step3vl.pipelines.sources.web.fetch import FetchConfig

_MIN_DETAIL = 0.1


class RetrievalEntry(DomainEntry):
    """Knowledge texts with images that are found for their keywords."""

    INPUT_FIELDS = frozenset({"texts"})

    domain: Literal["knowledge.retrieval"]
    kind: Literal["document", "conversation"] = "document"
    """`document` has the passage after the image, `conversation` asks for it."""
    texts: tuple[FileSource, ...] = Field(min_length=1)
    """Files of knowledge: Parquet or JSON Lines, HTML, plain text with an empty line between paragraphs ..."""
    field: str = "text"
    """The column or key that holds the text in Parquet and JSON Lines."""
    images: tuple[FileSource, ...] = Field(min_length=1)
    """Files of pairs, whose captions are searched: Parquet tables or img2dataset's tars."""
    fetch: FetchConfig | None = None
    """How images that are not in the files are fetched; without it they are missing."""
    licences: tuple[str, ...] = ()
    """Keep only images under these licences; under any when empty."""
    keywords: int = Field(default=8, ge=1)
    """Of a document, at most."""
    results: int = Field(default=3, ge=1)
    """Images that are looked at for a keyword; one of those that fit is taken."""
    min_overlap: float = Field(default=0.25, ge=0, le=1)
    """The share of a caption's content words that the passage has."""
    min_shared: int = Field(default=2, ge=1)
    """Content words that a caption and the passage share. The keyword alone is often a homonym: a cap is also a
    constant, and a wheel a file of Python."""
    characters: IntRange = (80, 2000)
    """Of a passage."""
    languages: tuple[str, ...] = ()
    """ISO 639-1 codes; a passage that is surely in another language is dropped. Any when empty."""
    image_sides: IntRange = (100, 20000)
    """The shortest and the longest side of an image, in pixels."""
    max_aspect: float = Field(default=3.0, ge=1)
    """The longer side of an image over its shorter one."""
    judge: JudgeConfig | None = None
    """A model that says whether each image illustrates its passage; those that do not are dropped."""

    def inputs(self) -> Files:
        return Files(self.texts)

    def assets(self) -> tuple[str, ...]:
        return tuple(pattern for source in self.images for pattern in source.files)

    def check(self, context: StepContext) -> None:
        super().check(context)
        check_prompts(None, self.judge)


class Query(Config):
    """A keyword, and the passage that it is from."""

    keyword: str = ""
    weight: float = 0.0
    passage: str = ""
    uri: str
    licence: str
    reason: str = ""
    """Why the document has none."""
    problem: str = ""
    """Why the document cannot be read; empty for a good one."""


class MineKeywords:
    """Worker: the documents of a part become keywords, each with its passage."""

    def __init__(self, entry: RetrievalEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        self._search: ImageSearch = caption_index(self._entry.images, self._entry.name, self._context)

    def process(self, record: Record[FilePart], rng: random.Random) -> Iterator[Record[Query]]:
        entry, part = self._entry, record.value
        path = self._context.local_path(part.file)
        documents = read_documents(path, part.file.key, Part(part.start, part.stop), entry.field)
        for number, lines in enumerate(documents):
            key = f"{record.key}/{number}"
            if isinstance(lines, CorpusError):
                yield Record(key, Query(uri=key, licence=part.file.licence, problem=str(lines)))
                continue
            low, high = entry.characters
            paragraphs = [joined for line in lines if low <= len(joined := " ".join(line.split())) <= high]
            keywords = mine_keywords(paragraphs, self._search.rarity, entry.keywords)
            if not keywords:
                reason = "no_keywords" if paragraphs else "no_passage"
                yield Record(key, Query(uri=key, licence=part.file.licence, reason=reason))
            for place, keyword in enumerate(keywords):
                query = Query(
                    keyword=keyword.text,
                    weight=keyword.weight,
                    passage=paragraphs[keyword.paragraph],
                    uri=key,
                    licence=part.file.licence,
                )
                yield Record(f"{key}/{place}", query)


class FindImages:
    """Worker: a keyword becomes the draft of a sample with an image that was found for it."""

    def __init__(self, entry: RetrievalEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        entry, context = self._entry, self._context
        self._search: ImageSearch = caption_index(entry.images, entry.name, context)
        self._pairs = PairReader(
            entry.image_sides, entry.max_aspect, entry.licences, entry.fetch, context.root, context.store
        )

    def process(self, record: Record[Query], rng: random.Random) -> Iterator[Record[Draft]]:
        entry, query = self._entry, record.value
        if query.problem:
            raise CorpusError(query.problem)
        if query.reason:
            raise Dropped(query.reason)
        if is_foreign(query.passage, entry.languages):
            raise Dropped("language")
        hits = self._search.search(query.keyword, entry.results)
        if not hits:
            raise Dropped("no_image_found")
        overlaps = [(hit, *_overlap(hit, query)) for hit in hits]
        fitting = [
            (hit, share) for hit, words, share in overlaps if words >= entry.min_shared and share >= entry.min_overlap
        ]
        if not fitting:
            raise Dropped("low_overlap")
        hit, overlap = rng.choice(fitting)
        part = hit.part
        (pair,) = self._pairs.read(part, self._context.local_path(part.file), hit.key)
        if pair.image is None:
            raise Dropped(pair.reason)
        scores = {"keyword_weight": query.weight, "bm25": hit.score, "caption_overlap": round(overlap, 4)}
        scores["detail"] = detail(pair.image.open())
        if scores["detail"] < _MIN_DETAIL:
            raise Dropped("blank_image")
        language = language_of(query.passage)
        source = Source(
            uri=f"{query.uri} {pair.uri}",
            licence=" AND ".join(sorted({query.licence, pair.licence})),
            collected_by=f"step3vl/{entry.name}",
            traits={"keyword": query.keyword.casefold(), "language": language},
        )
        request = knowledge_request(query.keyword, language, rng) if entry.kind == "conversation" else ""
        draft = Draft(image=pair.image, text=query.passage, request=request, source=source, scores=scores)
        yield Record(record.key, draft)


def _overlap(hit: ImageHit, query: Query) -> tuple[int, float]:
    """The content words of a caption that a passage has: how many they are, and their share of the caption's."""
    caption, passage = set(content_words(hit.caption)), set(content_words(query.passage))
    shared = len(caption & passage)
    return shared, shared / len(caption) if caption else 0.0


DOMAIN = Domain(
    RetrievalEntry,
    steps=(
        BeamStep("open", version=2, worker=SplitFiles, output=FilePart, time_limit=OPEN_SECONDS),
        BeamStep("mine", version=3, worker=MineKeywords, output=Query, spread=True, time_limit=PAGE_SECONDS),
        BeamStep("find", version=3, worker=FindImages, output=Draft, spread=True, time_limit=PAGE_SECONDS),
        PASSAGE_JUDGE_STEP,
        BeamStep("write", version=1, worker=WriteDrafts, output=Sample),
    ),
    example={
        "texts": [{"files": ["data/samples/texts/knowledge-*.txt"], "licence": "CC0-1.0"}],
        "images": [{"files": ["data/samples/pairs/*.tar"], "licence": "CC0-1.0"}],
        "keywords": 40,
    },
)
