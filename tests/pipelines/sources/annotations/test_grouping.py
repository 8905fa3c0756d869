"""All pieces of an image together, however large its file is and wherever they stand in it."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.pipelines.sources.annotations.annotated_sets import FOLDER, SETS, format_of, listed

from step3vl.data.errors import InfrastructureError
from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.sources.annotations.grouping import AnnotationPart, images_of, split_file


def large_coco(path: Path, images: int, seed: int = 0) -> None:
    """A file whose annotations stand in no order, before the images that they belong to."""
    rng = random.Random(seed)
    annotations = [
        {"id": n, "image_id": n % images, "category_id": 1, "bbox": [n % 50, 1, 10, 10], "iscrowd": 0}
        for n in range(4 * images)
    ]
    rng.shuffle(annotations)
    listed_images = [{"id": n, "file_name": f"{n}.jpg", "width": 100, "height": 80} for n in range(images)]
    value = {"annotations": annotations, "images": listed_images, "categories": [{"id": 1, "name": "dog"}]}
    path.write_text(json.dumps(value))


def assembled(parts: list[AnnotationPart], root: str) -> dict[str, str]:
    format = format_of("coco")
    images = {}
    for part in parts:
        for name, pieces in images_of(part, root, DEFAULT_STORE):
            assert name not in images
            images[name] = format.assemble(name, pieces).model_dump_json()
    return images


def test_a_file_is_grouped_alike_in_memory_and_under_the_root(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    large_coco(path, 700)
    root = str(tmp_path / "root")
    inline = list(split_file(listed(path), path, format_of("coco"), root, DEFAULT_STORE))
    spilled = list(split_file(listed(path), path, format_of("coco"), root, DEFAULT_STORE, inline=1000))
    assert len(inline) == 11
    assert all(part.path and not part.images for part in spilled)
    images = assembled(inline, root)
    assert len(images) == 700
    assert images == assembled(spilled, root)
    assert all(image.count('"label":"dog"') == 4 for image in images.values())
    before = {each: each.read_bytes() for each in Path(root).rglob("*.gz")}
    again = list(split_file(listed(path), path, format_of("coco"), root, DEFAULT_STORE, inline=1000))
    assert again == spilled
    assert before == {each: each.read_bytes() for each in Path(root).rglob("*.gz")}


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Eight times the annotations, and no more memory: only one bucket is in memory at a time."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from step3vl.data.storage import DEFAULT_STORE\n"
        "from step3vl.pipelines.sources.annotations import grouping\n"
        "from tests.pipelines.sources.annotations.annotated_sets import format_of, listed\n"
        "path = Path(sys.argv[1])\n"
        "grouping._BUCKET = grouping._BUFFER = 2**18\n"
        "parts = grouping.split_file(listed(path), path, format_of('coco'), sys.argv[2], DEFAULT_STORE, inline=1000)\n"
        "assert sum(1 for _ in parts) > 4\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(status.partition('VmHWM:')[2].split()[0])\n"
    )
    peaks = []
    for images in (3_000, 24_000):
        path = tmp_path / f"{images}.json"
        large_coco(path, images)
        command = [sys.executable, "-c", code, str(path), str(tmp_path / "root")]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert path.stat().st_size > 8 << 20
    assert peaks[1] - peaks[0] < 6 << 10  # KiB


def test_a_part_that_is_gone_or_damaged_is_named(tmp_path: Path) -> None:
    path, root = tmp_path / "coco.json", tmp_path / "root"
    large_coco(path, 50)
    (part,) = split_file(listed(path), path, format_of("coco"), str(root), DEFAULT_STORE, inline=0)
    target = root / part.path
    data = target.read_bytes()
    for damaged in (data[:20], b"plain"):
        target.write_bytes(damaged)
        with pytest.raises(InfrastructureError, match=r"\.annotations"):
            list(images_of(part, str(root), DEFAULT_STORE))
    target.unlink()
    with pytest.raises(InfrastructureError, match="gone"):
        list(images_of(part, str(root), DEFAULT_STORE))


@pytest.mark.parametrize("inline", [0, 1 << 20])
def test_a_file_that_names_no_image_is_refused(tmp_path: Path, inline: int) -> None:
    path = tmp_path / "none.json"
    path.write_text('{"categories": [{"id": 1, "name": "dog"}], "images": [], "annotations": []}')
    with pytest.raises(ValueError, match="no image"):
        list(split_file(listed(path), path, format_of("coco"), str(tmp_path / "root"), DEFAULT_STORE, inline))


def test_pieces_of_two_files_are_not_mixed() -> None:
    """Parts of one set are those of one file: RefCOCO's references stand beside COCO's instances."""
    pattern, _, _ = SETS["refcoco"]
    (path,) = Path(FOLDER).glob(pattern)
    (part,) = split_file(listed(path), path, format_of("refcoco"), "", DEFAULT_STORE)
    names = [name for name, _ in images_of(part, "", DEFAULT_STORE)]
    assert names == sorted({str(each["image_id"]) for each in json.loads(path.read_bytes())})
