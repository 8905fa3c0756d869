"""What `make sources` collects from the packages of a machine, here from a small imitation of them."""

import importlib.util
import json
import struct
import tarfile
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with its folders below `tmp_path / "usr"`."""
    spec = importlib.util.spec_from_file_location("local_sources", ROOT / "workflows/small/sources.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    usr = tmp_path / "usr"
    for name, folder in (("DOC", "doc"), ("HELP", "help"), ("LOCALE", "locale"), ("STAMPS", "stamps")):
        monkeypatch.setattr(module, name, usr / folder)
    monkeypatch.setattr(module, "SITES", {"guide": (usr / "doc/guide", "https://a.example/")})
    for name in ("web", "text", "photos", "pairs", "cutouts", "tables"):
        (tmp_path / "out" / name).mkdir(parents=True)
    return module


def lines(path: Path) -> list[dict[str, str]]:
    with pa.input_stream(str(path), compression="zstd") as file:
        return [json.loads(line) for line in file.read().decode().splitlines()]


def write_catalog(path: Path, messages: dict[str, str]) -> None:
    """A catalog of gettext, as msgfmt compiles it."""
    path.parent.mkdir(parents=True)
    items = sorted((key.encode(), value.encode()) for key, value in messages.items())
    start = 28 + 16 * len(items)
    tables: tuple[list[int], list[int]] = ([], [])
    data = b""
    for column in (0, 1):
        for item in items:
            tables[column].extend((len(item[column]), start + len(data)))
            data += item[column] + b"\0"
    header = struct.pack("<7I", 0x950412DE, 0, len(items), 28, 28 + 8 * len(items), 0, start)
    path.write_bytes(header + struct.pack(f"<{4 * len(items)}I", *tables[0], *tables[1]) + data)


def test_paragraphs_of_a_language_come_once_and_without_addresses(sources: ModuleType, tmp_path: Path) -> None:
    page = "<p>Wer den Baum pflanzt, sitzt selten in seinem Schatten.</p>"
    for name in ("doc/debian-handbook/html/de-DE/a.html", "doc/debian-handbook/html/de-DE/b.html"):
        path = tmp_path / "usr" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<html><body>{page}<p>Schreiben Sie an jemand@a.example, bitte.</p><p>kurz</p>")
    missing = list(sources.texts(tmp_path / "out"))
    assert [line["text"] for line in lines(tmp_path / "out/text/de.jsonl.zst")] == [
        "Wer den Baum pflanzt, sitzt selten in seinem Schatten."
    ]
    assert [name.rpartition("/")[2] for name in missing] == [
        "installation-guide-amd64 is missing: fewer texts",
        "help is missing: fewer texts",
    ]


def test_messages_of_programs_come_without_placeholders(sources: ModuleType, tmp_path: Path) -> None:
    messages = {
        "": "Content-Type: text/plain; charset=UTF-8\n",
        "Save": "保存",
        "%d files": "%d 个文件",
        "Open a file": "打开文件",
    }
    write_catalog(tmp_path / "usr/locale/zh_CN/LC_MESSAGES/editor.mo", messages)
    assert not list(sources.messages(tmp_path / "out"))
    records = lines(tmp_path / "out/text/zh.messages.jsonl.zst")
    assert [(line["text"], line["language"]) for line in records] == [("打开文件", "zh")]


def test_a_damaged_catalog_is_passed_over(sources: ModuleType, tmp_path: Path) -> None:
    write_catalog(tmp_path / "usr/locale/fr/LC_MESSAGES/a.mo", {"Open": "Ouvrir le fichier"})
    (tmp_path / "usr/locale/fr/LC_MESSAGES/b.mo").write_bytes(b"not a catalog")
    assert not list(sources.messages(tmp_path / "out"))
    assert [line["text"] for line in lines(tmp_path / "out/text/fr.messages.jsonl.zst")] == ["Ouvrir le fichier"]


def test_stamps_become_pairs_in_each_language(sources: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "usr/stamps/animals"
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "cat.png")
    (folder / "cat.txt").write_text("A cat.\nde.utf8=Eine Katze.\nzh_CN.utf8=一只猫。\n")
    (folder / "lost.txt").write_text("No image.\n")
    assert not list(sources.stamps(tmp_path / "out"))
    texts = {}
    for path in (tmp_path / "out/pairs").iterdir():
        with tarfile.open(path) as archive:
            texts[path.stem] = [
                archive.extractfile(name).read().decode() for name in archive.getnames() if name.endswith(".txt")
            ]  # type: ignore[union-attr]
    assert texts == {
        "stamps-en": ["A cat."],
        "stamps-de": ["Eine Katze."],
        "stamps-zh": ["一只猫。"],
        "stamps-fr": [],
        "stamps-ja": [],
    }


def test_a_site_becomes_an_archive_once(sources: ModuleType, tmp_path: Path) -> None:
    assert [text.rpartition("/")[2] for text in sources.archives(tmp_path / "out")] == [
        "guide is missing: no guide.warc.gz"
    ]
    folder = tmp_path / "usr/doc/guide"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("<p>A guide.</p>")
    assert not list(sources.archives(tmp_path / "out"))
    archive = tmp_path / "out/web/guide.warc.gz"
    data = archive.read_bytes()
    (folder / "index.html").write_text("<p>Another.</p>")
    assert not list(sources.archives(tmp_path / "out"))
    assert archive.read_bytes() == data


def test_cutouts_are_things_with_names_of_their_own(sources: ModuleType, tmp_path: Path) -> None:
    captions = {
        "a": "A rabbit.", "b": "A rabbit.", "c": "A big rabbit.", "d": "An office chair.", "e": "A bird.",
        "f": "The fountain of youth.", "g": "A pig.",
    }  # fmt: skip
    folder = tmp_path / "usr/stamps"
    folder.mkdir(parents=True)
    for name, caption in captions.items():
        (folder / f"{name}.txt").write_text(f"{caption}\nde.utf8=Ein Ding.\n")
        if name != "g":
            (folder / f"{name}.png").write_bytes(name.encode())
    assert not list(sources.cutouts(tmp_path / "out"))
    written = {path.name: path.read_bytes() for path in (tmp_path / "out/cutouts").iterdir()}
    assert written == {"rabbit.png": b"a", "office_chair.png": b"d"}
