"""Whatever is wrong with a dataset is found, named and counted, and the search goes on to what else is wrong."""

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
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.faults import Problem
from step3vl.data.verify import Report, verify
from step3vl.data.walk import End, Gap, Member, Window, walk


@pytest.fixture(scope="module")
def sound(
    tmp_path_factory: pytest.TempPathFactory, build_dataset: Callable[..., Dataset], make_sample: Any
) -> Dataset:
    samples = [make_sample(number, pictured=number % 3 != 0) for number in range(40)]
    return build_dataset(tmp_path_factory.mktemp("verify") / "set", samples)


class Copy:
    """A dataset to spoil. Its shard is the larger one of the split train, of pictured and other samples."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dataset = Dataset.open(folder)
        train = [shard for shard in self.dataset.manifest.shards if shard.split == "train"]
        self.info = max(train, key=lambda shard: shard.samples)
        self.shard = folder / self.info.path
        self.index = folder / self.info.index_path
        self.rows = pq.read_table(self.index).to_pylist()

    def verify(self, **options: Any) -> Report:
        return verify(self.folder, **options)

    def kinds(self, **options: Any) -> dict[tuple[str, str], int]:
        """Counts by file, where all but the name of the shard is cut, and kind."""
        found = self.verify(**options).problems
        return {(Path(one.file).name.replace(self.shard.stem, "S"), one.kind): one.count for one in found}

    def manifest(self, change: Callable[[dict[str, Any]], None]) -> None:
        path = self.folder / "dataset.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    def members(self, path: Path | None = None) -> list[tuple[str, bytes]]:
        with tarfile.open(path or self.shard) as archive:
            return [(one.name, archive.extractfile(one).read()) for one in archive]  # type: ignore[union-attr]

    def write(self, members: list[tuple[str, bytes] | tarfile.TarInfo]) -> None:
        """The shard anew, by the standard library, of any members."""
        with tarfile.open(self.shard, "w", format=tarfile.USTAR_FORMAT) as archive:
            for one in members:
                if isinstance(one, tarfile.TarInfo):
                    archive.addfile(one)
                else:
                    info = tarfile.TarInfo(one[0])
                    info.size = len(one[1])
                    archive.addfile(info, io.BytesIO(one[1]))

    def edit(self, name: str, change: Callable[[bytes], bytes]) -> None:
        """Replace a payload by one of the same length, in place."""
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


def pictured(copy: Copy) -> str:
    return next(row["id"] for row in copy.rows if row["image_sizes"])


@pytest.mark.parametrize("options", [{}, {"pictures": False}, {"workers": 2}])
def test_a_sound_dataset_has_no_problems(sound: Dataset, options: dict[str, Any]) -> None:
    report = verify(sound.url, **options)
    assert report.problems == ()
    assert (report.shards, report.samples) == (4, 40)
    assert report.size == sum(Path(sound.url, shard.path).stat().st_size for shard in sound.manifest.shards)


def test_missing_and_extra_files(copy: Copy) -> None:
    copy.shard.unlink()
    Path(f"{copy.shard}.idx").unlink()
    (copy.folder / "shards" / ".old.tar.1.tmp").write_bytes(b"x")
    (copy.folder / "shards" / "other.tar").write_bytes(b"x")
    found = copy.kinds()
    assert found["S.tar", "missing"] == 1
    assert found[".old.tar.1.tmp", "extra"] == found["other.tar", "extra"] == 1
    assert found["S.tar", "count"] == 1  # what the manifest promises is not there
    assert ("dataset.json", "count") in found


def test_a_missing_index_or_idx_does_not_hide_the_archive(copy: Copy) -> None:
    copy.index.unlink()
    Path(f"{copy.shard}.idx").unlink()
    assert copy.kinds() == {("S.parquet", "missing"): 1, ("S.tar.idx", "missing"): 1}


@pytest.mark.parametrize("where", ["header", "payload", "padding", "trailer"])
def test_a_truncated_archive(copy: Copy, where: str) -> None:
    row = copy.rows[5]
    length = {
        "header": row["offset"] + 100,
        "payload": row["offset"] + 520,
        "padding": copy.rows[6]["offset"] - 1,
        "trailer": copy.rows[-1]["offset"] + copy.rows[-1]["size"] + 512,
    }[where]
    copy.shard.write_bytes(copy.shard.read_bytes()[:length])
    found = copy.kinds()
    assert found["S.tar", "truncated"] == 2  # by its size, and by its end
    assert found["S.tar", "checksum"] >= 1  # of the file, and of a sample that lost its padding
    lost = {"header": len(copy.rows) - 5, "payload": len(copy.rows) - 5, "padding": len(copy.rows) - 6, "trailer": 0}
    assert found.get(("S.parquet", "index"), 0) == lost[where]
    assert found.get(("S.tar", "count"), 0) == (lost[where] > 0)


def test_a_flipped_bit_anywhere_is_a_wrong_checksum(copy: Copy) -> None:
    whole = copy.shard.read_bytes()
    end = copy.rows[-1]["offset"] + copy.rows[-1]["size"]
    for place in (copy.rows[2]["offset"] + 120, copy.rows[2]["offset"] + 560, end - 1, end + 700):
        data = bytearray(whole)
        data[place] ^= 4
        copy.shard.write_bytes(data)
        assert copy.kinds()["S.tar", "checksum"] >= 1, place


def test_damage_in_one_sample_leaves_the_others_found(copy: Copy) -> None:
    data = bytearray(copy.shard.read_bytes())
    for row in copy.rows[3:5]:
        data[row["offset"] : row["offset"] + 512] = b"\xff" * 512
    copy.shard.write_bytes(data)
    report = copy.verify()
    assert report.samples == 38
    found = {(Path(one.file).suffix, one.kind): one for one in report.problems}
    assert found[".parquet", "index"].count == 2
    assert copy.rows[3]["id"] in found[".parquet", "index"].detail
    assert 1 <= found[".tar", "archive"].count <= 4


def test_what_stands_behind_the_end_is_found(copy: Copy) -> None:
    with copy.shard.open("ab") as file:
        file.write(b"\x01" * 10240)
    assert copy.kinds()["S.tar", "archive"] == 1


def test_an_index_that_disagrees(copy: Copy) -> None:
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


def test_a_stale_idx(copy: Copy) -> None:
    path = Path(f"{copy.shard}.idx")
    path.write_bytes(path.read_bytes()[:-8])
    assert copy.kinds() == {("S.tar.idx", "offsets"): 1}


def test_duplicate_keys_within_and_across_shards(copy: Copy) -> None:
    members = copy.members()
    other = next(shard for shard in copy.dataset.manifest.shards if shard.samples and shard.path != copy.info.path)
    stolen = copy.members(copy.folder / other.path)
    first = [one for one in members if one[0].startswith(copy.rows[0]["id"])]
    again = [one for one in stolen if one[0].startswith(stolen[0][0][:32])]
    copy.write([*first, *members, *again])
    report = copy.verify()
    found = {(one.file, one.kind): one for one in report.problems}
    files = [copy.info.path, max(copy.info.path, other.path)]
    repeated = [found[file, "duplicate"] for file in dict.fromkeys(files)]
    assert sum(one.count for one in repeated) == 2
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
def test_absurd_json(copy: Copy, meta: bytes, reason: str) -> None:
    members = copy.members()
    place = next(at for at, (name, _) in enumerate(members) if name == f"{copy.rows[2]['id']}.json")
    members[place] = (members[place][0], meta)
    copy.write(members)
    report = copy.verify()
    problem = next(one for one in report.problems if one.kind == "json")
    assert problem.count == 1 and copy.rows[2]["id"] in problem.detail and reason in problem.detail
    assert report.samples == 40


def test_json_whose_content_is_not_that_of_its_key(copy: Copy) -> None:
    copy.edit(f"{copy.rows[2]['id']}.json", lambda meta: meta.replace(b"How many", b"How manx"))
    assert copy.kinds() == {("S.tar", "json"): 1, ("S.tar", "checksum"): 2}  # of the file and of the sample


@pytest.mark.parametrize(
    "name", ["../../outside.json", "/etc/passwd", "a/../../b.0.jpg", "UPPER.json", "__meta__.json"]
)
def test_names_that_lead_elsewhere(copy: Copy, name: str) -> None:
    members = copy.members()
    copy.write([*members[:4], (name, b"x"), *members[4:]])
    problem = next(one for one in copy.verify().problems if one.kind == "name")
    assert problem.count == 1 and name in problem.detail
    assert not (copy.folder.parent / "outside.json").exists()


def test_members_that_are_no_files(copy: Copy) -> None:
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


def _lie(copy: Copy, picture: bytes, **fields: Any) -> Problem:
    """Give a sample another picture, and say in its JSON what `fields` has; returns the problem of the pictures."""
    key = pictured(copy)
    members = []
    for name, data in copy.members():
        if name == f"{key}.json":
            row = json.loads(data)
            row["images"][0].update({"sha256": hashlib.sha256(picture).hexdigest(), **fields})
            data = json.dumps(row).encode()
        elif name.startswith(key):
            data = picture
        members.append((name, data))
    copy.write(members)
    report = copy.verify()
    assert report.samples == 40
    (problem,) = [one for one in report.problems if one.kind in ("image", "bomb")]
    assert problem.count == 1 and key in problem.detail
    return problem


def test_a_decompression_bomb_is_not_decoded(copy: Copy) -> None:
    problem = _lie(copy, bomb(20_000), width=20_000, height=20_000)
    assert problem.kind == "bomb" and "400000000 pixels" in problem.detail


@pytest.mark.parametrize(
    ("picture", "fields", "detail"),
    [
        (jpeg((32, 24)), {}, "it is jpeg; its sample says png"),
        (bomb(64), {}, "it is 64x64; its sample says 32x24"),
        (bomb(64), {"sha256": "0" * 64}, "SHA-256"),
        (bomb(64)[:45], {"width": 64, "height": 64}, "Error"),
        (b"nonsense", {}, "UnidentifiedImageError"),
    ],
)
def test_a_picture_that_lies(copy: Copy, picture: bytes, fields: dict[str, Any], detail: str) -> None:
    problem = _lie(copy, picture, **fields)
    assert problem.kind == "image" and detail in problem.detail


def test_a_picture_too_many_or_too_few(copy: Copy) -> None:
    key = pictured(copy)
    members = copy.members()
    copy.write([one for one in members if one[0] != f"{key}.0.png"])
    assert copy.kinds()["S.tar", "image"] == 1
    place = members.index(next(one for one in members if one[0] == f"{key}.0.png"))
    copy.write([*members[: place + 1], (f"{key}.1.png", b"x"), *members[place + 1 :]])
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
    assert kinds["dataset.json", "count"] == 3  # one too many, one that is not there, and one not named
    assert kinds["dataset.json", "tokens"] >= 3


def test_everything_at_once_is_all_found(copy: Copy) -> None:
    key = pictured(copy)
    members = copy.members()
    spoiled = [(name, b"{" if name == f"{copy.rows[0]['id']}.json" else data) for name, data in members]
    spoiled = [(name, b"x" if name == f"{key}.0.png" else data) for name, data in spoiled]
    copy.write([*spoiled, ("../x.json", b""), *members[:1]])
    Path(f"{copy.shard}.idx").write_bytes(b"")
    (copy.folder / "shards" / "extra").touch()
    kinds = {kind for _, kind in copy.kinds()}
    assert kinds >= {"json", "image", "name", "duplicate", "order", "offsets", "extra", "checksum", "index"}


def test_a_manifest_that_leads_out_of_the_folder_is_refused(copy: Copy) -> None:
    copy.manifest(lambda content: content["shards"][0].update(path="../../x.tar"))
    with pytest.raises(UserError, match=r"shards\.0\.path.*inside the dataset"):
        copy.verify()


@settings(max_examples=60)
@given(data=st.data())
def test_any_damage_to_an_archive_is_found_and_survived(sound: Dataset, data: st.DataObject) -> None:
    """Bytes overwritten, cut out or put in anywhere: the walk ends, and the hash or the walk tells."""
    whole = Path(sound.url, sound.manifest.shards[-1].path).read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    length = data.draw(st.integers(0, 1500))
    new = data.draw(st.binary(max_size=1500))
    spoiled = whole[:place] + new + whole[place + length :]
    window = Window(lambda start, stop: spoiled[start:stop], len(spoiled))
    found = list(walk(window))
    assert isinstance(found[-1], Gap | End) or any(isinstance(one, End) for one in found)
    assert all(one.payload + one.size <= len(spoiled) for one in found if isinstance(one, Member))
    assert (window.hexdigest() == sound.manifest.shards[-1].blake3) == (spoiled == whole)


def test_a_window_gives_every_byte_while_it_forgets() -> None:
    content = bytes(range(256)) * 100_000
    asked: list[int] = []

    def read(start: int, stop: int) -> bytes:
        asked.append(stop - start)
        return content[start:stop]

    window = Window(read, len(content))
    for start in range(0, len(content), 1_000_003):
        window.release(start)
        assert window.get(start, start + 2_000_000) == content[start : start + 2_000_000]
    assert sum(asked) == len(content), "every byte is read once"
    assert window.hexdigest() == blake3(content).hexdigest()
