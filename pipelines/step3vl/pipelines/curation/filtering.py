"""The filters of a curation, applied to samples as they are read."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from PIL import Image as PILImage

from step3vl.data.dataset import Dataset
from step3vl.data.sample import Sample
from step3vl.data.tokens import load_tokenizer
from step3vl.pipelines.curation.filters.masking import Masked, Masker
from step3vl.pipelines.curation.filters.rules import FiltersConfig
from step3vl.pipelines.curation.filters.view import Finding, SampleView

FILTER = "curate.filter"  # the ledger's name of the step
MASKED = "masked"  # the reason of evidence of samples that are kept without their personal data


class Filtered(NamedTuple):
    """What filters make of a sample.

    Attributes:
        finding: Why it is dropped; None for one that is kept.
        masked: The sample that is kept in its place, if its personal data were masked.
        scores: What was measured, by name.
    """

    finding: Finding | None
    masked: Masked | None
    scores: Mapping[str, float]


class SampleFilter:
    """Filters samples of one dataset.

    Args:
        config: The filters by pattern.
        dataset: Whose tokenizer counts masked texts.
    """

    def __init__(self, config: FiltersConfig, dataset: Dataset) -> None:
        self._config, self._dataset = config, dataset

    def needs_images(self, row: Mapping[str, Any]) -> bool:
        """Whether a sample with this JSON is judged by its decoded images, too."""
        return self._config.of(row["domain"], row["task"]).needs_images

    def apply(self, row: dict[str, Any], encoded: Sequence[bytes], decoded: Sequence[PILImage.Image]) -> Filtered:
        """Filter a sample, and mask one that passes.

        Args:
            row: The JSON of a shard.
            encoded: Its images.
            decoded: The same, upright and RGB; none where `needs_images` says so.
        """
        rules = self._config.of(row["domain"], row["task"])
        view = SampleView(row, decoded)
        finding = rules.find(view)
        if finding is not None or rules.personal_data is None:
            return Filtered(finding, None, view.scores)
        result = self.masker.mask(sample_of(row, encoded), rules.personal_data)
        if isinstance(result, Finding):
            return Filtered(result, None, view.scores)
        return Filtered(None, result, view.scores)

    def mask(self, sample: Sample) -> Sample:
        """The masked sample of one that `apply` has masked."""
        config = self._config.of(sample.domain, sample.task).personal_data
        masked = config and self.masker.mask(sample, config)
        assert isinstance(masked, Masked), f"{sample.id} was masked as it was read, and now is not"
        return masked.sample

    @cached_property
    def masker(self) -> Masker:
        """Loads the tokenizer, which most curations have no need of."""
        return Masker(load_tokenizer(self._dataset.tokenizer), self._dataset.manifest.counting.image)


def sample_of(row: dict[str, Any], images: Sequence[bytes]) -> Sample:
    """The sample of a shard's JSON and its encoded images."""
    pairs = zip(row.get("images", ()), images, strict=True)
    return Sample.from_row({**row, "images": [{**image, "data": data} for image, data in pairs]})
