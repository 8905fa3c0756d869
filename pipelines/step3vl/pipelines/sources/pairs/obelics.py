"""Documents of interleaved texts and images in Parquet, as OBELICS and those after it publish them.

Two aligned lists make a document: at each place either `texts` has a paragraph or `images` the address of an image.
`metadata` is JSON with what is known of each image, `general_metadata` JSON with the address of the page.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from step3vl.data.sample import Pointer
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.sources.pairs.parquet_rows import is_parquet, open_parquet
from step3vl.pipelines.sources.web.html import join_url
from step3vl.pipelines.sources.web.web_archive import ListedNode, WebPage

_log = logging.getLogger(__name__)

_NEEDED = ("images", "texts")
_USED = (*_NEEDED, "metadata", "general_metadata", "url", "licence", "license")
_BATCH = 64  # rows that are decoded at a time
_MAX_NODES = 2000  # of a document
_reported: set[tuple[str, ...]] = set()


def is_interleaved(path: Path) -> bool:
    """Whether a file is a table of interleaved documents, by its columns."""
    return is_parquet(path) and all(name in open_parquet(path).schema_arrow.names for name in _NEEDED)


def pages_of_table(path: Path, file: InputFile) -> Iterator[tuple[int, WebPage]]:
    """The documents of a table by their rows.

    Args:
        path: The table on this machine.
        file: What it was listed as.

    Raises:
        Dropped: It has other columns.
        ParquetError: It is damaged.
    """
    table = open_parquet(path)
    names = table.schema_arrow.names
    if not all(name in names for name in _NEEDED):
        raise Dropped("no_texts_and_images_columns")
    report_unused(file.key, [name for name in names if name not in _USED])
    row = 0
    for batch in table.iter_batches(_BATCH, columns=[name for name in _USED if name in names]):
        for values in batch.to_pylist():
            yield row, _page(values, file)
            row += 1


def report_unused(key: str, names: list[str]) -> None:
    """Tell once in a process which columns of a kind of table nothing is made of."""
    if names and tuple(names) not in _reported:
        _reported.add(tuple(names))
        _log.warning("%s: columns that are not used: %s", key, ", ".join(names))


def _page(values: Mapping[str, Any], file: InputFile) -> WebPage:
    known, general = _parse(values.get("metadata")), _parse(values.get("general_metadata"))
    url = values.get("url") or (general.get("url") if isinstance(general, dict) else "") or ""
    texts, images = values["texts"] or [], values["images"] or []
    reason = "texts_and_images_differ" if len(texts) != len(images) else ""
    details = known if isinstance(known, list) and len(known) == len(images) else [None] * len(images)
    nodes = []
    for text, image, detail in zip(texts, images, details, strict=False):
        if isinstance(image, str) and (address := join_url(str(url), image)):
            alt = detail.get("alt_text") if isinstance(detail, dict) else ""
            nodes.append(ListedNode(address=address, alt=" ".join(str(alt or "").split())))
        elif isinstance(text, str):
            nodes += [ListedNode(text=part) for each in text.split("\n\n") if (part := " ".join(each.split()))]
    licence = values.get("licence") or values.get("license") or file.licence
    return WebPage(
        url=str(url) or file.key,
        at=Pointer(path=file.url, offset=0, size=0),
        licence=str(licence),
        listed=tuple(nodes[:_MAX_NODES]),
        reason=reason or ("too_many_nodes" if len(nodes) > _MAX_NODES else "" if nodes else "empty_page"),
    )


def _parse(value: Any) -> Any:
    """What a column of JSON holds; None where it is none."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return None
