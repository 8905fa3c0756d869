"""The configuration of a curation. Every step can be left out, so each can be used alone."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from step3vl.data.config import Config
from step3vl.data.storage import StoreConfig
from step3vl.pipelines.curation.filters.rules import FiltersConfig
from step3vl.pipelines.curation.quotas import Quota

_FREE = {"root", "store", "beam_options"}  # what cannot change the result


class NearConfig(Config):
    """Near-duplicate texts: MinHash over n-grams of words, banded, and every candidate verified."""

    similarity: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity of the n-grams, as signatures estimate it, from which texts are duplicates."""
    ngram: int = Field(default=5, ge=1, le=32)
    """Words of an n-gram. Each character of a script without spaces counts as a word."""
    bands: int = Field(default=16, ge=1)
    rows: int = Field(default=8, ge=1)
    """Slots of a band. Texts of similarity s share a band with probability 1 - (1 - s^rows)^bands."""
    min_words: int = Field(default=50, ge=1)
    """Shorter texts are only compared as wholes: their n-grams say little, and captions and instructions repeat."""
    match_numbers: bool = True
    """Whether near-duplicate conversations must have the same numbers in the same order: exercises of one template
    differ in nothing else."""

    @property
    def slots(self) -> int:
        """Entries of a signature."""
        return self.bands * self.rows

    def shared_band(self, similarity: float) -> float:
        """The probability that texts of a similarity become candidates."""
        return float(1 - (1 - similarity**self.rows) ** self.bands)

    @model_validator(mode="after")
    def _is_small(self) -> Self:
        if self.slots > 1024:
            raise ValueError(f"{self.bands} bands of {self.rows} rows are {self.slots} slots; use at most 1024")
        return self


class ImagesConfig(Config):
    """Duplicate images: by their pixels, and near by two perceptual hashes that both have to agree."""

    phash_radius: int = Field(default=4, ge=0, le=4)
    """Bits of 64 in which the DCT hashes may differ; candidates are complete up to 4."""
    pdq_radius: int = Field(default=31, ge=0, le=128)
    """Bits of 256 in which the PDQ hashes may differ. 31 is the bound that PDQ's authors recommend."""
    pdq_quality: int = Field(default=50, ge=0, le=100)
    """Images with less structure, such as blank pages and flat icons, are duplicates only by their pixels."""
    crops: bool = False
    """Whether samples of equal text are duplicates, too, whose images are crops of one another's, by tiles around key
    points. The images of such samples are decoded again."""


class SemanticConfig(Config):
    """Embeddings of texts, their clusters, and duplicates within a cluster."""

    folder: str = Field(pattern=r"^/")
    """A sentence encoder in the format of `transformers`, such as all-MiniLM-L6-v2, at the same absolute path on every
    machine."""
    similarity: float | None = Field(default=0.95, gt=0, le=1)
    """Cosine from which samples of a cluster are duplicates, if their images match, too, and conversations have the
    same numbers. Null: none is dropped, and quotas can count by cluster."""
    clusters: int = Field(default=100, ge=1, le=100_000)
    """A few thousand samples in a cluster are compared in seconds."""
    similar_items: float = Field(default=0.8, gt=0, le=1)
    """Cosine from which a sample is listed beside the benchmark item that it is most like, where there is
    `decontaminate`. None is dropped for it."""
    tokens: int = Field(default=256, ge=8)
    """Of the beginning of a text that are looked at."""
    min_words: int = Field(default=5, ge=0)
    """Shorter texts say too little to be alike, where `near` counts words."""


class DecontaminateConfig(Config):
    """Samples that contain what a model is evaluated with are dropped."""

    benchmarks: tuple[str, ...] = Field(min_length=1)
    """Files of benchmark items, by path, URL or pattern: JSON, JSON Lines and CSV (also gzipped), Parquet, images."""
    ngram: int = Field(default=13, ge=4, le=64)
    """Words in a row that a sample and an item share, digits masked."""
    min_words: int = Field(default=6, ge=1)
    """Items of fewer words are not looked for: `What is this?` is in every corpus. Those of fewer than `ngram` must
    occur whole."""
    overlap: float | None = Field(default=0.25, gt=0, le=1)
    """Share of an item's n-grams of five words that a sample has, at least four of them, by which an edited item is
    found. Null: it is not looked for. Items in scripts without spaces never are: five characters are in many texts."""
    max_items: int = Field(default=20, ge=1)
    """An n-gram that more items have is the phrasing of a benchmark, and not looked for."""
    fields: tuple[str, ...] = ("question", "problem", "prompt", "query", "instruction", "text", "goal", "turns")
    """Fields that hold questions, in any case, however deep in a record."""
    images: bool = True
    """Whether images are compared, too, by the radii of `images`."""
    crops: bool = False
    """Whether images are also looked for that are crops of an item's, or the other way round, by their tiles. It takes
    several times as long as the hashes."""
    ocr: bool = False
    """Whether text that PaddleOCR reads in images is searched, too. It takes a second or so for an image."""

    def content(self) -> dict[str, Any]:
        """What is looked for, without where it was read."""
        return self.model_dump(mode="json", exclude={"benchmarks"})

    @model_validator(mode="after")
    def _anchors_are_shorter(self) -> Self:
        if self.min_words > self.ngram:
            raise ValueError(f"min_words is {self.min_words}, and may not be more than ngram, {self.ngram}")
        return self


class CurationConfig(Config):
    """How datasets are curated. Steps that are null are left out; exact duplicates are always dropped."""

    name: str = Field(default="curated", pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Begins the names of the shards."""
    shards: Annotated[int, Field(gt=0, le=99_999)] | None = None
    """Of each split; by default as many as the datasets have."""
    against: tuple[str, ...] = ()
    """Earlier datasets: what duplicates their samples is dropped, and none of their samples is written."""
    near: NearConfig | None = NearConfig()
    images: ImagesConfig | None = ImagesConfig()
    """Null: images are compared by their encoded bytes, and not decoded."""
    semantic: SemanticConfig | None = None
    """Samples that say the same in other words; opt-in, for it drops hard variants of exercises, too."""
    filters: FiltersConfig | None = None
    """What is wrong with a sample by itself, by pattern of its task or domain."""
    decontaminate: DecontaminateConfig | None = None
    balance: tuple[Quota, ...] = ()
    """How much of each group of samples is kept, one rule after the other, after all that is dropped for itself."""
    prefer: tuple[str, ...] = ()
    """Scores by which the best of duplicates is kept, the most important first; then more pixels and longer text."""
    hot_bucket: int = Field(default=16, ge=2)
    """Members of a bucket of candidates up to which all pairs are compared; of more, each with its neighbours and the
    first."""
    max_component: int = Field(default=10_000, ge=2)
    """Members of a connected component that are in memory at a time. Larger components are reported."""
    max_leaders: int = Field(default=256, ge=1)
    """Samples of a connected component that are kept and that others are compared with. What is left after so many is
    kept, too, and reported."""
    failure_budget: float = Field(default=0.01, ge=0, le=1)
    """The fraction of the samples that may fail, by damaged bytes or images that cannot be decoded."""
    root: str | None = None
    """Folder or URL of what the steps leave; by default `.staging` in the dataset's folder."""
    store: StoreConfig = StoreConfig()
    """How remote stores are used."""
    beam_options: tuple[str, ...] = ()
    """Beam's own command-line options."""

    @model_validator(mode="after")
    def _clusters_are_there(self) -> Self:
        if self.semantic is None and any(quota.by == "cluster" for quota in self.balance):
            raise ValueError("a quota by cluster needs the embeddings of `semantic`; give its folder")
        return self

    @property
    def scores(self) -> tuple[str, ...]:
        """The scores that are kept of each sample: those of `prefer`, and the others that quotas look at."""
        return tuple(dict.fromkeys([*self.prefer, *(name for quota in self.balance for name in quota.scores)]))

    def content(self) -> dict[str, Any]:
        """The configuration as JSON without what cannot change the result."""
        return self.model_dump(mode="json", exclude=_FREE)
