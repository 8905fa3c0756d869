"""Image-text pairs from web pages and from tables and tars of pairs.

After the pairs of the STEP3-VL-10B report, section 2.2. An image of a page may be described by the text above it, the
text below it, or its alternative text; the one that fits best is kept, if it fits well enough. Pairs of open sets pass
the same filters. Common concepts can be capped by a table that a first pass counts. Of what is left, models on servers
may write new texts and judge them.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.sample import Image, Sample, Source
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, FractionRange, IntRange, ModelStep
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.knowledge_drafts import JUDGE_STEP, RECAPTION_STEP, Draft, WriteDrafts, check_prompts
from step3vl.pipelines.domains.knowledge_phrasings import caption_request, has_name
from step3vl.pipelines.domains.knowledge_sources import OPEN_SECONDS, PAGE_SECONDS, WebEntry, model_files
from step3vl.pipelines.models.clip import ClipModel
from step3vl.pipelines.models.concepts import BalanceConfig, ConceptTable
from step3vl.pipelines.models.judge import JudgeConfig
from step3vl.pipelines.models.language import is_foreign, spoken, sure_language
from step3vl.pipelines.models.recaption import RecaptionConfig
from step3vl.pipelines.models.similarity import ClipScorer, LexicalScorer, Scorer, detail, lexical_similarity
from step3vl.pipelines.sources.pairs.image_text import Pair, PairSlice, PairText
from step3vl.pipelines.sources.pairs.obelics import is_interleaved
from step3vl.pipelines.sources.pairs.pair_reader import PairReader, has_pairs, slices_of_file
from step3vl.pipelines.sources.text.words import words
from step3vl.pipelines.sources.web.main_body import ImageNode
from step3vl.pipelines.sources.web.main_element import text_length
from step3vl.pipelines.sources.web.page_pairs import (
    heading_above,
    is_boilerplate,
    name_words,
    texts_around,
    without_number,
)
from step3vl.pipelines.sources.web.web_archive import WebPage
from step3vl.pipelines.sources.web.web_document import read_page
from step3vl.pipelines.sources.web.web_pages import page_of_site, pages_of_file

_BATCH = 32  # pairs that a model sees at once
_BATCH_SECONDS = 60.0


class PairsEntry(WebEntry):
    """Images with the text that describes them best."""

    domain: Literal["knowledge.pairs"]
    kind: Literal["document", "conversation"] = "document"
    """`document` has the text after the image, `conversation` asks for it."""
    scorer: Scorer = LexicalScorer()
    """What compares images and texts."""
    min_detail: float = Field(default=0.1, ge=0, le=1)
    """The entropy of an image's grey levels over that of noise; blank images are below."""
    stated: dict[str, FractionRange] = Field(default_factory=dict)
    """Ranges of scores that tables state, such as `stated_similarity: [0.28, 1]`; a pair without the score passes."""
    characters: IntRange = (8, 600)
    """Of a text, a CJK one counting double."""
    languages: tuple[str, ...] = ()
    """ISO 639-1 codes; a text that is surely in another language is dropped. Any when empty. The request of a
    conversation names the language of a text that is neither English nor Chinese; a single code here decides it, for
    that of a short text is never sure."""
    balance: BalanceConfig | None = None
    """Caps common concepts."""
    recaption: RecaptionConfig | None = None
    """A model that writes a new text of each image, knowing the one that was chosen."""
    judge: JudgeConfig | None = None
    """A model that says how well each text fits its image; those that do not are dropped."""

    def assets(self) -> tuple[str, ...]:
        patterns = [self.balance.counts] if self.balance else []
        if isinstance(self.scorer, ClipScorer):
            patterns += model_files(self.scorer.folder)
            patterns += [self.scorer.aesthetic_head] if self.scorer.aesthetic_head else []
        return tuple(patterns)

    def check(self, context: StepContext) -> None:
        super().check(context)
        check_prompts(self.recaption, self.judge)


class PairInput(Config):
    """What pairs are read from: a page, or a slice of a file of pairs."""

    page: WebPage | None = None
    part: PairSlice | None = None


class OpenPairs:
    """Worker: a file becomes the pages or the slices of pairs that it holds."""

    def __init__(self, entry: PairsEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[InputFile], rng: random.Random) -> Iterator[Record[PairInput]]:
        file = record.value
        if page := page_of_site(file, self._entry.sites, self._context):
            yield Record(record.key, PairInput(page=page))
            return
        path = self._context.local_path(file)
        if has_pairs(path) and not is_interleaved(path):
            for part in slices_of_file(path, file):
                yield Record(f"{record.key}#{part.start}{'-damaged' if part.damage else ''}", PairInput(part=part))
        else:
            for key, page in pages_of_file(record.key, file, path):
                yield Record(key, PairInput(page=page))


class CollectPairs:
    """Worker: a page or a slice becomes its images, each with the texts that may describe it."""

    def __init__(self, entry: PairsEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        entry, context = self._entry, self._context
        self._images = entry.page_images(context)
        self._pairs = PairReader(
            entry.image_sides, entry.max_aspect, entry.licences, entry.fetch, context.root, context.store
        )

    def process(self, record: Record[PairInput], rng: random.Random) -> Iterator[Record[Pair]]:
        if (part := record.value.part) is not None:
            pairs = self._pairs.read(part, self._context.local_path(part.file))
        else:
            assert record.value.page is not None
            pairs = self._of_page(record.value.page)
        for number, pair in enumerate(pairs):
            yield Record(f"{record.key}/{number}", pair)

    def _of_page(self, stored: WebPage) -> Iterator[Pair]:
        page = read_page(stored, self._entry.licences)
        nodes = {place: node for place, node in enumerate(page.nodes) if isinstance(node, ImageNode)}
        if not nodes:
            raise Dropped("no_images")
        images = self._images.load(stored, list(nodes.values()))
        for (place, node), loaded in zip(nodes.items(), images, strict=True):
            address = next((each for each in node.addresses if not each.startswith("data:")), "")
            around = (name_words(address), heading_above(page.nodes, place), page.title)
            yield Pair(
                image=loaded.image,
                texts=texts_around(page.nodes, place, self._entry.characters[1]),
                around=tuple(filter(None, around)),
                url=address,
                uri=stored.url,
                licence=page.licence,
                reason=loaded.reason,
            )


class ScorePairs:
    """Annotator: pairs with what a model of the CLIP kind says of them."""

    def __init__(self, entry: PairsEntry) -> None:
        assert isinstance(entry.scorer, ClipScorer)
        self._model = ClipModel(entry.scorer.folder, entry.scorer.aesthetic_head)

    def __call__(self, pairs: Sequence[Pair]) -> list[Pair]:
        images = [(place, pair.image) for place, pair in enumerate(pairs) if pair.image is not None and pair.texts]
        similarities, aesthetics = self._model.score(
            [picked.open() for _, picked in images],
            [[each.text for each in pairs[place].texts] for place, _ in images],
        )
        scored = list(pairs)
        for (place, _), cosines, aesthetic in zip(images, similarities, aesthetics, strict=True):
            changes = {"similarities": tuple(cosines), "aesthetic": aesthetic}
            scored[place] = pairs[place].model_copy(update=changes)
        return scored


def _has_model(entry: PairsEntry) -> bool:
    return isinstance(entry.scorer, ClipScorer)


class BuildPairs:
    """Worker: an image with the texts that may describe it becomes the draft of a sample with the one that does."""

    def __init__(self, entry: PairsEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        balance = self._entry.balance
        self._table = ConceptTable.load(self._context.assets([balance.counts])[0]) if balance else None

    def process(self, record: Record[Pair], rng: random.Random) -> Iterator[Record[Draft]]:
        entry, pair = self._entry, record.value
        if pair.image is None:
            raise Dropped(pair.reason)
        for name, (low, high) in entry.stated.items():
            if name in pair.scores and not low <= pair.scores[name] <= high:
                raise Dropped(name)
        best, similarity = self._best(pair)
        if is_foreign(best.text, entry.languages):
            raise Dropped("language")
        scores = {**pair.scores, f"{entry.scorer.kind}_similarity": similarity, "detail": detail(pair.image.open())}
        if scores["detail"] < entry.min_detail:
            raise Dropped("blank_image")
        if pair.aesthetic is not None:
            assert isinstance(entry.scorer, ClipScorer)
            scores["aesthetic"] = pair.aesthetic
            if pair.aesthetic < entry.scorer.min_aesthetic:
                raise Dropped("aesthetic")
        if self._table is not None and entry.balance is not None:
            scores["balance"] = round(self._table.probability(best.text, entry.balance), 6)
            if rng.random() >= scores["balance"]:
                raise Dropped("common_concepts")
        yield Record(record.key, self._draft(pair, pair.image, best, scores, rng))

    def _best(self, pair: Pair) -> tuple[PairText, float]:
        """The text that describes the image best, and how well it does."""
        entry = self._entry
        if not pair.texts:
            raise Dropped("no_text")
        scores = pair.similarities or lexical_similarity(pair.texts, pair.around)
        low, high = entry.characters
        fitting = [
            (score, -place)
            for place, (each, score) in enumerate(zip(pair.texts, scores, strict=True))
            if low <= text_length(each.text) <= high and len(words(each.text)) > 1 and not is_boilerplate(each.text)
        ]
        if not fitting:
            raise Dropped("no_fitting_text")
        score, place = max(fitting)
        if score < entry.scorer.min_similarity:
            raise Dropped("low_similarity")
        best = pair.texts[-place]
        return best.model_copy(update={"text": without_number(best.text)}), score

    def _draft(self, pair: Pair, picked: Image, best: PairText, scores: dict[str, float], rng: random.Random) -> Draft:
        entry = self._entry
        source = Source(
            uri=pair.uri,
            licence=pair.licence,
            collected_by=f"step3vl/{entry.name}",
            traits={"role": best.role, "language": spoken(best.text)},
        )
        request = ""
        if entry.kind == "conversation":
            request = caption_request(best.role, best.text, rng, self._other_language(best.text))
        return Draft(image=picked, text=best.text, request=request, source=source, scores=scores)

    def _other_language(self, text: str) -> str:
        """The language of a text that a request must name: neither English nor Chinese. Empty for these two.

        An entry of a single language says it; otherwise a text counts as English where no other language is sure.
        """
        languages = self._entry.languages
        language = languages[0] if len(languages) == 1 else sure_language(text)
        if language in ("", "en", "zh"):
            return ""
        if not has_name(language):
            raise Dropped("language")
        return language


DOMAIN = Domain(
    PairsEntry,
    steps=(
        BeamStep("open", version=1, worker=OpenPairs, output=PairInput, time_limit=OPEN_SECONDS),
        BeamStep("collect", version=2, worker=CollectPairs, output=Pair, spread=True, time_limit=PAGE_SECONDS),
        ModelStep(
            "score",
            version=1,
            annotator=ScorePairs,
            output=Pair,
            batch=_BATCH,
            time_limit=_BATCH_SECONDS,
            when=_has_model,
        ),
        BeamStep("build", version=3, worker=BuildPairs, output=Draft),
        RECAPTION_STEP,
        JUDGE_STEP,
        BeamStep("write", version=1, worker=WriteDrafts, output=Sample),
    ),
    example={"sources": [{"files": ["data/samples/web/*.warc.gz"], "licence": "BSD-3-Clause"}]},
)
