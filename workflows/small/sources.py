"""Bring the local sources of workflows/small/corpus.yaml into a folder: what Debian and Python packages carry.

    python workflows/small/sources.py [--out sources]

Each source is made once; remove its file to make it again. What is not installed is named and left out, and the build
says so too. Documents, fonts, TeX sources and cut-outs are read where their packages put them.
"""

import hashlib
import io
import json
import re
import sys
import tarfile
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from gettext import GNUTranslations
from importlib.util import find_spec
from pathlib import Path

import lxml.etree
import pyarrow as pa
from PIL import Image
from rich.console import Console
from rich.progress import track

from step3vl.data.storage.files import new_file
from step3vl.pipelines.sources.web.archive_site import archive_site
from step3vl.pipelines.sources.web.html import HtmlError, decode_html, parse_page

DOC = Path("/usr/share/doc")
HELP = Path("/usr/share/help")  # of GNOME, in about fifty languages
LOCALE = Path("/usr/share/locale")
_PAGES = 400  # of a site, in the order of their names
_SIDE = 384  # pixels; a photograph is no smaller
_BLOCKS = "//p | //li[not(.//p)] | //h1 | //h2 | //h3 | //dd[not(.//p)] | //td[not(.//p)]"
_CHARACTERS = (20, 2000)  # of a text
_MALLARD = "{http://projectmallard.org/1.0/}"

_MARKUP = re.compile(r"[%{}<>_@|\\\\\n]|://")  # of programs, not of sentences
_MESSAGE = (3, 300)  # characters of a message of a program

SITES = {
    "debian-handbook-en": (DOC / "debian-handbook/html/en-US", "https://debian-handbook.info/browse/stable/"),
    "debian-handbook-de": (DOC / "debian-handbook/html/de-DE", "https://debian-handbook.info/browse/de-DE/stable/"),
    "debian-handbook-zh": (DOC / "debian-handbook/html/zh-CN", "https://debian-handbook.info/browse/zh-CN/stable/"),
    "installation-guide-en": (DOC / "installation-guide-amd64/en", "https://www.debian.org/releases/en/amd64/"),
    "installation-guide-zh": (DOC / "installation-guide-amd64/zh_CN", "https://www.debian.org/releases/zh/amd64/"),
    "python-skimage": (DOC / "python-skimage-doc/html", "https://scikit-image.org/docs/0.19.x/"),
    "python": (DOC / "python3/html", "https://docs.python.org/3.11/"),
    "maxima": (DOC / "maxima-doc/html", "https://maxima.sourceforge.io/docs/manual/"),
    "octave": (DOC / "octave/octave.html", "https://docs.octave.org/latest/"),
    "opencv": (DOC / "opencv-doc/opencv4/html", "https://docs.opencv.org/4.6.0/"),
}
"""Folders of HTML, and the addresses that they are published at."""

STAMPS = Path("/usr/share/tuxpaint/stamps")
CAPTIONS = {"en": "", "zh": "zh_CN.utf8=", "de": "de.utf8=", "fr": "fr.utf8=", "ja": "ja.utf8="}
"""Languages of captions, and how their lines begin."""
_NOUN = re.compile(r"An? ([a-z]+(?: [a-z]+)?)[.!]?")  # a caption that is no more than what a stamp shows
_GENERIC = frozenset((
    "animal", "bird", "boat", "building", "bunny", "car", "caribou", "cemetery marker", "chick", "clown",
    "coin", "doe", "dog", "drake", "dromedary", "fish", "flower", "fort", "fruit", "gravestone", "graveyard",
    "hat", "headstone", "insect", "man", "monument stone", "mountaingoat", "person", "plant", "ram", "ship",
    "sign", "stable", "tombstone", "tree", "vegetable", "vehicle", "woman",
))  # fmt: skip
"""What other stamps are, too, or are called as well: a question for the bird must not fit a duck."""

LANGUAGES = {
    "ar-MA": "ar", "pt_BR": "pt", "pt-BR": "pt", "zh_CN": "zh", "zh_TW": "zh-hant", "zh-TW": "zh-hant",
    "zh_HK": "zh-hant", "C": "en",
}  # fmt: skip
"""Of folders whose names are not a language, or one and its own country."""


def archives(out: Path) -> Iterator[str]:
    """Web archives of the sites."""
    for name, (folder, url) in SITES.items():
        target = out / "web" / f"{name}.warc.gz"
        if not folder.is_dir():
            yield f"{folder} is missing: no {target.name}"
        elif not target.exists():
            pages = sorted(str(page.relative_to(folder)) for page in folder.rglob("*.html"))
            with new_file(target, durable=False) as file:
                archive_site(folder, url, file, pages[:_PAGES])


def texts(out: Path) -> Iterator[str]:
    """Paragraphs in many languages, a file of JSON lines for each."""
    folders: dict[str, list[Path]] = {}
    for parent in (DOC / "debian-handbook/html", DOC / "installation-guide-amd64", HELP):
        if not parent.is_dir():
            yield f"{parent} is missing: fewer texts"
            continue
        for folder in sorted(parent.iterdir()):
            if folder.is_dir():
                folders.setdefault(_language(folder.name), []).append(folder)
    for site in ("python3/html", "octave/octave.html", "maxima-doc/html", "opencv-doc/opencv4/html"):
        folders.setdefault("en", []).append(DOC / site)
    todo = {name: paths for name, paths in folders.items() if not _text(out, name).exists()}
    for language, paths in track(todo.items(), "texts", disable=not todo):
        pages = (page for path in paths for page in sorted(path.rglob("*")) if page.is_file())
        _write_texts(_text(out, language), language, ((text, page) for page in pages for text in _paragraphs(page)))


def _text(out: Path, name: str) -> Path:
    return out / "text" / f"{name}.jsonl.zst"


def _write_texts(target: Path, language: str, texts: Iterable[tuple[str, Path]]) -> None:
    """Write each text once, with where it is from."""
    seen = set[bytes]()
    with new_file(target, durable=False) as file, pa.CompressedOutputStream(file, "zstd") as lines:
        for text, source in texts:
            key = hashlib.blake2b(text.encode(), digest_size=8).digest()
            if key not in seen:
                seen.add(key)
                line = {"text": text, "language": language, "source": str(source)}
                lines.write((json.dumps(line, ensure_ascii=False) + "\n").encode())


def messages(out: Path) -> Iterator[str]:
    """What the programs of this machine say to people, translated: short texts in a hundred languages."""
    if not LOCALE.is_dir():
        yield f"{LOCALE} is missing: no messages"
        return
    languages: dict[str, list[Path]] = {}
    for folder in sorted(LOCALE.iterdir()):
        languages.setdefault(_language(folder.name), []).extend(sorted(folder.glob("LC_MESSAGES/*.mo")))
    todo = {name: paths for name, paths in languages.items() if paths and not _text(out, f"{name}.messages").exists()}
    for language, paths in track(todo.items(), "messages", disable=not todo):
        texts = ((text, path) for path in paths for text in _messages(path))
        _write_texts(_text(out, f"{language}.messages"), language, texts)


def _messages(catalog: Path) -> Iterator[str]:
    try:
        with catalog.open("rb") as file:
            translations = GNUTranslations(file)
    except (OSError, UnicodeDecodeError, LookupError, ValueError):  # damaged, or of a charset that Python lacks
        return
    for text in translations._catalog.values():  # type: ignore[attr-defined]  # there is no public way to list them
        if _MESSAGE[0] <= len(text) <= _MESSAGE[1] and not _MARKUP.search(text):
            yield text


def _language(folder: str) -> str:
    return LANGUAGES.get(folder) or re.split("[-_@]", folder)[0]


def _paragraphs(page: Path) -> Iterator[str]:
    if page.suffix == ".html":
        try:
            blocks = parse_page(decode_html(page.read_bytes(), None), page.as_uri()).tree.xpath(_BLOCKS)
        except HtmlError:
            return
    elif page.suffix == ".page":
        tree = lxml.etree.parse(page, lxml.etree.XMLParser(resolve_entities=False, no_network=True, recover=True))
        blocks = list(tree.iter(f"{_MALLARD}p", f"{_MALLARD}title"))
    else:
        return
    for block in blocks:
        text = " ".join("".join(block.itertext()).split())
        if _CHARACTERS[0] <= len(text) <= _CHARACTERS[1] and "@" not in text:  # no addresses of people
            yield text


def photographs(out: Path) -> Iterator[str]:
    """Photographs that packages carry, as they come."""
    folders = [Path("/usr/share/backgrounds/gnome"), DOC / "opencv-doc/examples/data"]
    for package, folder in (("skimage", "data"), ("sklearn", "datasets/images")):
        spec = find_spec(package)
        if spec and spec.submodule_search_locations:
            folders.append(Path(spec.submodule_search_locations[0]) / folder)
        else:
            yield f"the Python package {package} is missing: fewer photographs"
    for folder in folders:
        if not folder.is_dir():
            yield f"{folder} is missing: fewer photographs"
            continue
        for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".webp"}):
            target = out / "photos" / f"{folder.parent.name}-{path.name}"
            if not target.exists() and _is_large(path):
                with new_file(target, durable=False) as file:
                    file.write(path.read_bytes())


def _is_large(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return min(image.size) >= _SIDE and max(image.size) <= 16 * _SIDE
    except OSError:
        return False


def stamps(out: Path) -> Iterator[str]:
    """The stamps of Tux Paint with their captions, as img2dataset writes pairs: a tar for each language."""
    if not STAMPS.is_dir():
        yield f"{STAMPS} is missing: no pairs"
        return
    captioned = [
        (image, _captions(text))
        for text in sorted(STAMPS.rglob("*.txt"))
        if (image := text.with_suffix(".png")).exists()
    ]
    for language in CAPTIONS:
        target = out / "pairs" / f"stamps-{language}.tar"
        if target.exists():
            continue
        pairs = [(image, texts[language]) for image, texts in captioned if language in texts]
        with (
            new_file(target, durable=False) as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            for number, (image, caption) in enumerate(pairs):
                meta = {"caption": caption, "url": image.name, "license": "GPL-2.0-or-later"}
                members = {"png": image.read_bytes(), "json": json.dumps(meta).encode(), "txt": caption.encode()}
                for extension, data in members.items():
                    member = tarfile.TarInfo(f"{number:09}.{extension}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))


def cutouts(out: Path) -> Iterator[str]:
    """The stamps of Tux Paint that show a thing with a name of its own, called by it: `rabbit.png`."""
    if not STAMPS.is_dir():
        yield f"{STAMPS} is missing: no cut-outs"
        return
    images: dict[str, Path] = {}
    for text in sorted(STAMPS.rglob("*.txt")):
        match = _NOUN.fullmatch(_captions(text).get("en", ""))
        if match and match[1] not in _GENERIC and (image := text.with_suffix(".png")).exists():
            images.setdefault(match[1], image)
    for name, image in images.items():
        # A rabbit of a kind would be a rabbit, too.
        if name.rpartition(" ")[2] in images and " " in name:
            continue
        target = out / "cutouts" / f"{name.replace(' ', '_')}.png"
        if not target.exists():
            with new_file(target, durable=False) as file:
                file.write(image.read_bytes())


def _captions(path: Path) -> dict[str, str]:
    """The captions of a stamp by language: the first line is English, the others name theirs."""
    first, *others = path.read_text("utf-8", "replace").splitlines() or [""]
    captions = {"en": first.strip()}
    for line in others:
        for language, start in CAPTIONS.items():
            if start and line.startswith(start):
                captions[language] = line.removeprefix(start).strip()
    return {language: text for language, text in captions.items() if text}


def tables(out: Path) -> Iterator[str]:
    """Real tables as CSV and JSON."""
    spec = find_spec("vega_datasets")
    if spec is None or not spec.submodule_search_locations:
        yield "the Python package vega_datasets is missing: no tables"
        return
    for path in sorted((Path(spec.submodule_search_locations[0]) / "_data").iterdir()):
        target = out / "tables" / path.name
        if path.suffix in {".csv", ".json"} and not target.exists():
            with new_file(target, durable=False) as file:
                file.write(path.read_bytes())


SOURCES: tuple[Callable[[Path], Iterator[str]], ...] = (
    archives, texts, messages, photographs, stamps, cutouts, tables,
)  # fmt: skip


def main() -> None:
    """Make what is not there yet, and say what is missing."""
    parser = ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=Path("sources"), help="the folder (default: sources)")
    out = parser.parse_args().out
    console = Console(stderr=True)
    for name in ("web", "text", "photos", "pairs", "cutouts", "tables"):
        (out / name).mkdir(parents=True, exist_ok=True)
    for source in SOURCES:
        console.print(f"[bold]{source.__name__}[/]: {source.__doc__}")
        for missing in source(out):
            console.print(f"  [yellow]{missing}[/]; `make sources` installs the packages")
    for folder in sorted(path for path in out.iterdir() if path.is_dir()):
        files = [path for path in folder.iterdir() if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        console.print(f"{folder}: {len(files)} files, {size / 2**20:,.1f} MiB")


if __name__ == "__main__":
    sys.exit(main())
