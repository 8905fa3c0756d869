"""Verification: every problem is detected, classified and counted, and does not stop the search."""

import hashlib
import io
import json
import shutil
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image as PILImage

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.inspect.problems import DatasetProblem
from step3vl.data.inspect.verify import VerificationReport, verify


class Copy:
    """A dataset to damage. `shard` is the largest of the split train, with and without images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dataset = Dataset.open(folder)
        train = [shard for shard in self.dataset.manifest.shards if shard.split == "train"]
        self.info = max(train, key=lambda shard: shard.samples)
        self.shard = folder / self.info.path
        self.index = folder / self.info.index_path
        self.rows = pq.read_table(self.index).to_pylist()

    def verify(self, **options: Any) -> VerificationReport:
        return verify(self.folder, **options)

    def kinds(self, **options: Any) -> dict[tuple[str, str], int]:
        """Counts by file name, with the stem of the shard replaced by S, and kind."""
        problems = self.verify(**options).problems
        return {(Path(row.file).name.replace(self.shard.stem, "S"), row.kind): row.count for row in problems}

    def manifest(self, change: Callable[[dict[str, Any]], None]) -> None:
        path = self.folder / "dataset.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    def members(self, path: Path | None = None) -> list[tuple[str, bytes]]:
        with tarfile.open(path or self.shard) as archive:
            return [(member.name, archive.extractfile(member).read()) for member in archive]  # type: ignore[union-attr]

    def write(self, members: list[tuple[str, bytes] | tarfile.TarInfo]) -> None:
        """Write the shard again with the standard library, with any members."""
        with tarfile.open(self.shard, "w", format=tarfile.USTAR_FORMAT) as archive:
            for member in members:
                if isinstance(member, tarfile.TarInfo):
                    archive.addfile(member)
                else:
                    name, data = member
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))

    def edit(self, name: str, change: Callable[[bytes], bytes]) -> None:
        """Replace a payload by another of the same length, in place."""
        data = bytearray(self.shard.read_bytes())
        with tarfile.open(self.shard) as archive:
            info = archive.getmember(name)
        old = bytes(data[info.offset_data : info.offset_data + info.size])
        new = change(old)
        assert len(new) == len(old)
        data[info.offset_data : info.offset_data + info.size] = new
        self.shard.write_bytes(data)


@pytest.fixture
def copy(tmp_path: Path, sound: Dataset) -> Copy:
    shutil.copytree(sound.url, tmp_path / "set")
    return Copy(tmp_path / "set")


def with_images(copy: Copy) -> str:
    return next(row["id"] for row in copy.rows if row["image_sizes"])


@pytest.mark.parametrize("options", [{}, {"images": False}, {"workers": 2}])
def test_sound_dataset_has_no_problems(sound: Dataset, options: dict[str, Any]) -> None:
    report = verify(sound.url, **options)
    assert report.problems == ()
    assert (report.shards, report.samples) == (4, 40)
    assert report.size == sum(Path(sound.url, shard.path).stat().st_size for shard in sound.manifest.shards)


def test_missing_and_extra_files(copy: Copy) -> None:
    copy.shard.unlink()
    Path(f"{copy.shard}.idx").unlink()
    (copy.folder / "shards" / ".old.tar.1.tmp").write_bytes(b"x")
    (copy.folder / "shards" / "other.tar").write_bytes(b"x")
    kinds = copy.kinds()
    assert kinds["S.tar", "missing"] == 1
    assert kinds[".old.tar.1.tmp", "extra"] == kinds["other.tar", "extra"] == 1
    assert kinds["S.tar", "count"] == 1  # what the manifest lists does not exist
    assert ("dataset.json", "count") in kinds


def test_archive_is_verified_without_index_and_idx(copy: Copy) -> None:
    copy.index.unlink()
    Path(f"{copy.shard}.idx").unlink()
    assert copy.kinds() == {("S.parquet", "missing"): 1, ("S.tar.idx", "missing"): 1}


@pytest.mark.parametrize("where", ["header", "payload", "padding", "trailer"])
def test_truncated_archive(copy: Copy, where: str) -> None:
    row = copy.rows[5]
    length = {
        "header": row["offset"] + 100,
        "payload": row["offset"] + 520,
        "padding": copy.rows[6]["offset"] - 1,
        "trailer": copy.rows[-1]["offset"] + copy.rows[-1]["size"] + 512,
    }[where]
    copy.shard.write_bytes(copy.shard.read_bytes()[:length])
    kinds = copy.kinds()
    assert kinds["S.tar", "truncated"] == 2  # by its size, and by its end
    assert kinds["S.tar", "checksum"] >= 1  # of the file, and of a sample that lost its padding
    lost = {"header": len(copy.rows) - 5, "payload": len(copy.rows) - 5, "padding": len(copy.rows) - 6, "trailer": 0}
    assert kinds.get(("S.parquet", "index"), 0) == lost[where]
    assert kinds.get(("S.tar", "count"), 0) == (lost[where] > 0)


def test_flipped_bit_anywhere_is_a_wrong_checksum(copy: Copy) -> None:
    original = copy.shard.read_bytes()
    end = copy.rows[-1]["offset"] + copy.rows[-1]["size"]
    for position in (copy.rows[2]["offset"] + 120, copy.rows[2]["offset"] + 560, end - 1, end + 700):
        data = bytearray(original)
        data[position] ^= 4
        copy.shard.write_bytes(data)
        assert copy.kinds()["S.tar", "checksum"] >= 1, position


def test_damaged_sample_does_not_hide_the_others(copy: Copy) -> None:
    data = bytearray(copy.shard.read_bytes())
    for row in copy.rows[3:5]:
        data[row["offset"] : row["offset"] + 512] = b"\xff" * 512
    copy.shard.write_bytes(data)
    report = copy.verify()
    assert report.samples == 38
    problems = {(Path(row.file).suffix, row.kind): row for row in report.problems}
    assert problems[".parquet", "index"].count == 2
    assert copy.rows[3]["id"] in problems[".parquet", "index"].detail
    assert 1 <= problems[".tar", "archive"].count <= 4


def test_data_after_the_end_of_the_archive(copy: Copy) -> None:
    with copy.shard.open("ab") as file:
        file.write(b"\x01" * 10240)
    assert copy.kinds()["S.tar", "archive"] == 1


def test_index_that_disagrees_with_the_archive(copy: Copy) -> None:
    def spoil(change: Callable[[list[dict[str, Any]]], Any]) -> dict[tuple[str, str], int]:
        rows = [dict(row) for row in copy.rows]
        change(rows)
        table = pq.read_table(copy.index)
        pq.write_table(table.from_pylist(rows, schema=table.schema), spoiled)
        shutil.move(spoiled, copy.index)
        return copy.kinds()

    spoiled = copy.folder / "spoiled"
    changed = ("S.parquet", "checksum")
    assert spoil(lambda rows: rows[1].update(task="other.task")) == {changed: 1, ("S.parquet", "index"): 1}
    assert spoil(lambda rows: rows[1].update(offset=rows[1]["offset"] + 512)) == {
        changed: 1,
        ("S.parquet", "index"): 2,
    }
    assert spoil(lambda rows: rows.pop(3)) == {changed: 1, ("S.parquet", "index"): 1}
    assert spoil(lambda rows: rows[4].update(text_tokens=1)) == {changed: 1, ("S.parquet", "index"): 1}
    assert spoil(lambda rows: rows[4].update(xxh3=1)) == {changed: 1, ("S.tar", "checksum"): 1}
    copy.index.write_bytes(copy.index.read_bytes()[:-20])
    assert copy.kinds() == {changed: 1, ("S.parquet", "index"): 1}


def test_stale_idx(copy: Copy) -> None:
    path = Path(f"{copy.shard}.idx")
    path.write_bytes(path.read_bytes()[:-8])
    assert copy.kinds() == {("S.tar.idx", "offsets"): 1}


def test_duplicate_keys_within_and_across_shards(copy: Copy) -> None:
    members = copy.members()
    other = next(shard for shard in copy.dataset.manifest.shards if shard.samples and shard.path != copy.info.path)
    stolen = copy.members(copy.folder / other.path)
    first = [member for member in members if member[0].startswith(copy.rows[0]["id"])]
    again = [member for member in stolen if member[0].startswith(stolen[0][0][:32])]
    copy.write([*first, *members, *again])
    report = copy.verify()
    problems = {(row.file, row.kind): row for row in report.problems}
    files = [copy.info.path, max(copy.info.path, other.path)]
    repeated = [problems[file, "duplicate"] for file in dict.fromkeys(files)]
    assert sum(row.count for row in repeated) == 2
    assert any(key in repeated[0].detail for key in (copy.rows[0]["id"], stolen[0][0][:32]))


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        (b"[" * 100_000, "RecursionError"),
        (b"\xff\xfe nonsense", "Error"),
        (b'{"id": 1}', "ValueError: sample 1: id"),
        (b"[1, 2]", "found [1, 2]"),
        (b'{"a": ' + b"1" * 5000 + b"}", "ValueError"),
        (b"", "JSONDecodeError"),
    ],
)
def test_malformed_json(copy: Copy, meta: bytes, reason: str) -> None:
    members = copy.members()
    position = next(at for at, (name, _) in enumerate(members) if name == f"{copy.rows[2]['id']}.json")
    members[position] = (members[position][0], meta)
    copy.write(members)
    report = copy.verify()
    problem = next(row for row in report.problems if row.kind == "json")
    assert problem.count == 1 and copy.rows[2]["id"] in problem.detail and reason in problem.detail
    assert report.samples == 40


def test_json_whose_content_does_not_match_its_key(copy: Copy) -> None:
    copy.edit(f"{copy.rows[2]['id']}.json", lambda meta: meta.replace(b"How many", b"How manx"))
    assert copy.kinds() == {("S.tar", "json"): 1, ("S.tar", "checksum"): 2}  # of the file and of the sample


@pytest.mark.parametrize(
    "name", ["../../outside.json", "/etc/passwd", "a/../../b.0.jpg", "UPPER.json", "__meta__.json"]
)
def test_names_that_lead_out_of_the_folder(copy: Copy, name: str) -> None:
    members = copy.members()
    copy.write([*members[:4], (name, b"x"), *members[4:]])
    problem = next(row for row in copy.verify().problems if row.kind == "name")
    assert problem.count == 1 and name in problem.detail
    assert not (copy.folder.parent / "outside.json").exists()


def test_members_that_are_not_files(copy: Copy) -> None:
    link = tarfile.TarInfo("link.json")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    folder = tarfile.TarInfo("folder")
    folder.type = tarfile.DIRTYPE
    members = copy.members()
    copy.write([folder, link, ("alone.0.png", b"x"), *members])
    assert copy.kinds()["S.tar", "archive"] == 3


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int) -> bytes:
    """A PNG of side x side black pixels, a thousandth of that in bytes."""
    pixels = zlib.compressobj(9)
    rows = b"".join([*(pixels.compress(bytes(side // 8 + 1)) for _ in range(side)), pixels.flush()])
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def jpeg(size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", size, "red").save(buffer, "JPEG")
    return buffer.getvalue()


def _replace_image(copy: Copy, image: bytes, **fields: Any) -> DatasetProblem:
    """Replace a sample's image and set `fields` in its JSON; returns the problem of its image."""
    key = with_images(copy)
    members = []
    for name, data in copy.members():
        if name == f"{key}.json":
            row = json.loads(data)
            row["images"][0].update({"sha256": hashlib.sha256(image).hexdigest(), **fields})
            data = json.dumps(row).encode()
        elif name.startswith(key):
            data = image
        members.append((name, data))
    copy.write(members)
    report = copy.verify()
    assert report.samples == 40
    (problem,) = [row for row in report.problems if row.kind in ("image", "bomb")]
    assert problem.count == 1 and key in problem.detail
    return problem


def test_decompression_bomb_is_not_decoded(copy: Copy) -> None:
    problem = _replace_image(copy, bomb(20_000), width=20_000, height=20_000)
    assert problem.kind == "bomb" and "400000000 pixels" in problem.detail


@pytest.mark.parametrize(
    ("image", "fields", "detail"),
    [
        (jpeg((32, 24)), {}, "it is jpeg; its sample states png"),
        (bomb(64), {}, "it is 64x64; its sample states 32x24"),
        (bomb(64), {"sha256": "0" * 64}, "SHA-256"),
        (bomb(64)[:45], {"width": 64, "height": 64}, "Error"),
        (b"nonsense", {}, "UnidentifiedImageError"),
    ],
)
def test_image_that_differs_from_its_description(
    copy: Copy, image: bytes, fields: dict[str, Any], detail: str
) -> None:
    problem = _replace_image(copy, image, **fields)
    assert problem.kind == "image" and detail in problem.detail


def test_missing_and_unexpected_image(copy: Copy) -> None:
    key = with_images(copy)
    members = copy.members()
    copy.write([member for member in members if member[0] != f"{key}.0.png"])
    assert copy.kinds()["S.tar", "image"] == 1
    position = next(at for at, (name, _) in enumerate(members) if name == f"{key}.0.png")
    copy.write([*members[: position + 1], (f"{key}.1.png", b"x"), *members[position + 1 :]])
    assert copy.kinds()["S.tar", "image"] == 1


def test_token_counts_that_do_not_add_up(copy: Copy) -> None:
    number = copy.dataset.manifest.shards.index(copy.info)

    def change(content: dict[str, Any]) -> None:
        content["shards"][number]["text_tokens"] += 1
        content["tasks"][0]["image_tokens"] += 7
        content["tasks"][0]["samples"] += 1
        content["tasks"][1]["task"] = "made.up"

    copy.manifest(change)
    kinds = copy.kinds()
    assert kinds["S.tar", "tokens"] == 1
    assert kinds["dataset.json", "count"] == 3  # one too many, one that does not exist, and one not listed
    assert kinds["dataset.json", "tokens"] >= 3


def test_all_problems_at_once_are_detected(copy: Copy) -> None:
    key = with_images(copy)
    members = copy.members()
    spoiled = [(name, b"{" if name == f"{copy.rows[0]['id']}.json" else data) for name, data in members]
    spoiled = [(name, b"x" if name == f"{key}.0.png" else data) for name, data in spoiled]
    copy.write([*spoiled, ("../x.json", b""), *members[:1]])
    Path(f"{copy.shard}.idx").write_bytes(b"")
    (copy.folder / "shards" / "extra").touch()
    kinds = {kind for _, kind in copy.kinds()}
    assert kinds >= {"json", "image", "name", "duplicate", "order", "offsets", "extra", "checksum", "index"}


def test_manifest_path_outside_the_folder_is_refused(copy: Copy) -> None:
    copy.manifest(lambda content: content["shards"][0].update(path="../../x.tar"))
    with pytest.raises(UserError, match=r"shards\.0\.path.*inside the dataset"):
        copy.verify()
