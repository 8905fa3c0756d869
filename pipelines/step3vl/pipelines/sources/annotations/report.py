"""What a set of annotations holds and what is left out of it, counted without building anything.

    python -m step3vl.pipelines.sources.annotations.report coco instances.json --images 'train2017/{name}'

Every image is decoded and every object checked, as in a build.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from step3vl.data.errors import describe_error
from step3vl.data.sample import Image
from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.sources.annotations.cleaning import clean
from step3vl.pipelines.sources.annotations.formats import FORMATS, FormatName, make_format
from step3vl.pipelines.sources.annotations.grouping import images_of, split_file
from step3vl.pipelines.sources.annotations.raw import AnnotationFormat


def report(name: FormatName, files: list[Path], tables: dict[str, Path], images: str) -> dict[str, Any]:
    """Count a set. The objects of images that are kept add up: annotated = kept + the dropped ones.

    Args:
        name: The format.
        files: Annotation files on this machine.
        tables: Other files, by role.
        images: Path of an image, with `{name}` for what the annotations call it; relative to the annotation file.
    """
    format = make_format(name, tables)
    counts: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    for path in files:
        for image, pieces in _images(format, path):
            counts["images"] += 1
            try:
                raw = format.assemble(image, pieces)
                data = (path.parent / images.replace("{name}", raw.name)).read_bytes()
                grounded = clean(raw, Image.from_bytes(data), FORMATS[name].SUBJECT, "", image)
            except Dropped as drop:
                lost[drop.reason] += 1
                continue
            except (ValueError, KeyError, IndexError, TypeError, FileNotFoundError) as error:
                lost[describe_error(error).partition(":")[0]] += 1
                continue
            counts["kept"] += 1
            counts["annotated objects"] += len(raw.objects)
            counts["objects"] += len(grounded.objects)
            counts["regions to ignore"] += len(grounded.ignored)
            counts["absent labels"] += len(grounded.absent)
            dropped.update(grounded.dropped)
            labels.update(item.label for item in grounded.objects)
    if counts["annotated objects"] != counts["objects"] + dropped.total():
        raise AssertionError("the counts of objects do not add up")
    return {
        **counts,
        "images not kept": dict(lost.most_common()),
        "objects dropped": dict(dropped.most_common()),
        "labels": len(labels),
        "commonest": dict(labels.most_common(20)),
    }


def _images(format: AnnotationFormat, path: Path) -> Iterator[tuple[str, list[Any]]]:
    (file,) = list_pattern(str(path.absolute()), "", entry="report", base="/", store=DEFAULT_STORE)
    with tempfile.TemporaryDirectory() as root:
        for part in split_file(file, path, format, root, DEFAULT_STORE):
            yield from images_of(part, root, DEFAULT_STORE)


def main() -> None:
    """Print the report of the files that the command line names, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("format", choices=sorted(FORMATS))
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--images", default="{name}", help="path of an image, beside the annotation file")
    parser.add_argument("--table", action="append", default=[], metavar="ROLE=FILE", help="another file that it needs")
    arguments = parser.parse_args()
    tables = {role: Path(path) for role, _, path in (each.partition("=") for each in arguments.table)}
    print(
        json.dumps(report(arguments.format, arguments.files, tables, arguments.images), indent=2, ensure_ascii=False)
    )


if __name__ == "__main__":
    main()
