"""Files of image-text pairs, read: tables and tars, with images that are inside, or fetched."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from step3vl.data.sample import Image
from step3vl.data.storage import StoreConfig
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.sources.pairs.image_text import Pair, PairSlice, RawPair, read_table, slices_of_table
from step3vl.pipelines.sources.pairs.img2dataset import TarPair, is_tar, read_tar, slices_of_tar
from step3vl.pipelines.sources.pairs.parquet_rows import RowReader, is_parquet
from step3vl.pipelines.sources.web.fetch import FetchConfig
from step3vl.pipelines.sources.web.fetch_cache import FetchCache
from step3vl.pipelines.sources.web.page_pairs import name_words
from step3vl.pipelines.sources.web.web_images import load_image


def has_pairs(path: Path) -> bool:
    """Whether a file may be a table or a tar of pairs, by its content."""
    return is_parquet(path) or is_tar(path)


def slices_of_file(path: Path, file: InputFile) -> Iterator[PairSlice]:
    """A table or a tar in slices.

    Args:
        path: The file on this machine.
        file: What it was listed as.

    Raises:
        Dropped: It is neither, or has no pairs.
    """
    if is_parquet(path):
        yield from slices_of_table(path, file)
    elif is_tar(path):
        yield from slices_of_tar(path, file)
    else:
        raise Dropped("not_a_parquet_or_tar")


class PairReader:
    """Reads slices of pairs.

    Args:
        sides: The shortest and the longest side of an image, in pixels.
        max_aspect: The longer side over the shorter one.
        licences: Those that may be used; any when empty.
        fetch: How images that are not in the files are fetched; None to leave them.
        root: URL of the folder that keeps what was fetched.
        store: How a remote root is used.
    """

    def __init__(
        self,
        sides: tuple[int, int],
        max_aspect: float,
        licences: Sequence[str],
        fetch: FetchConfig | None,
        root: str,
        store: StoreConfig,
    ) -> None:
        self._sides, self._max_aspect, self._licences = sides, max_aspect, licences
        self._fetcher = FetchCache(fetch, root, store) if fetch else None
        self._rows = RowReader()

    def read(self, part: PairSlice, path: Path, key: str | None = None) -> Iterator[Pair]:
        """The pairs of a slice, with and without an image, in order.

        Args:
            part: The slice.
            path: Its file on this machine.
            key: Only the pair with this key, so that no other image is fetched or decoded.

        Raises:
            ParquetError: The table is damaged.
            TarError: The tar is damaged.
            InfrastructureError: A file cannot be read, or this machine is offline.
        """
        read = self._raw(part, path)
        licensed = [self._licensed(pair, part.file.licence) for pair in read if key in (None, pair.raw.key)]
        for raw, at in self._with_images(licensed):
            image, reason = None, raw.reason
            if raw.data:
                image, reason = load_image(raw.data, self._sides, self._max_aspect)
            if image is not None and at is not None:
                image = image.stored_at(at)
            yield _pair(raw, image, reason, f"{part.file.key}#{raw.key}")

    def captions(self, part: PairSlice, path: Path) -> Iterator[RawPair]:
        """The pairs of a slice without their images, which are neither fetched nor decoded. Raises as `read` does."""
        for raw, _ in self._raw(part, path):
            yield raw.model_copy(update={"data": b"", "licence": raw.licence or part.file.licence})

    def _raw(self, part: PairSlice, path: Path) -> list[TarPair]:
        if part.kind == "tar":
            return list(read_tar(part))
        return [TarPair(raw, None) for raw in read_table(self._rows, path, part)]

    def _licensed(self, pair: TarPair, licence: str) -> TarPair:
        """The pair with its licence; without its image if it is not one of those that may be used."""
        raw = pair.raw
        changes: dict[str, object] = {"licence": raw.licence or licence}
        if not raw.reason and self._licences and changes["licence"] not in self._licences:
            changes |= {"reason": "licence", "data": b"", "url": ""}
        return TarPair(raw.model_copy(update=changes), pair.at)

    def _with_images(self, pairs: Sequence[TarPair]) -> list[TarPair]:
        """The pairs with the images that have to be fetched."""
        missing = [place for place, (raw, _) in enumerate(pairs) if not raw.data and not raw.reason]
        results = list(pairs)
        if self._fetcher is None:
            for place in missing:
                results[place] = TarPair(pairs[place].raw.model_copy(update={"reason": "missing"}), None)
            return results
        fetched = self._fetcher.fetch([pairs[place].raw.url for place in missing]) if missing else []
        for place, got in zip(missing, fetched, strict=True):
            changes = {"data": got.data, "reason": got.missing_reason}
            results[place] = TarPair(pairs[place].raw.model_copy(update=changes), None)
        return results


def _pair(raw: RawPair, image: Image | None, reason: str, uri: str) -> Pair:
    words = name_words(raw.url)
    return Pair(
        image=image,
        texts=raw.texts,
        around=(words,) if words else (),
        url=raw.url,
        uri=uri,
        licence=raw.licence,
        scores=raw.scores,
        reason=reason or ("" if image is not None else "damaged"),
    )
