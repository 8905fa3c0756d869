import http.server
import re
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.pipelines.pair_files import pair_members, png, write_table, write_tar

from step3vl.data.sample import ImagePart, Sample, TextPart
from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import Files
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains import DOMAINS
from step3vl.pipelines.domains.knowledge_pairs import ScorePairs
from step3vl.pipelines.models import clip
from step3vl.pipelines.sources.pairs.image_text import Pair

ROOT = Path(__file__).parents[3]
WEB = {"sources": [{"files": ["data/samples/web/*.warc.gz"], "licence": "BSD-3-Clause"}]}


class Built:
    """What became of the records of an entry: its samples, and the reasons of the others."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.reasons: Counter[str] = Counter()


def build(fields: dict[str, Any], base: Path, root: str = "", domain: str = "knowledge.pairs") -> Built:
    context = StepContext(seed=0, base=str(base), root=root)
    entry = DOMAINS[domain].entry.model_validate({"domain": domain, "name": "t", **fields})
    entry.check(context)
    inputs = entry.inputs()
    assert isinstance(inputs, Files)
    records: list[Any] = [
        Record(file.key, file)
        for source in inputs.sources
        for pattern in source.files
        for file in sorted(
            list_pattern(pattern, source.licence, entry="t", base=context.base, store=DEFAULT_STORE),
            key=lambda file: file.key,
        )
    ]
    built = Built()
    for step in DOMAINS[domain].steps_of(entry):
        if hasattr(step, "annotator"):
            values = step.annotator(entry)([record.value for record in records])
            records = [Record(record.key, value) for record, value in zip(records, values, strict=True)]
            continue
        worker, emitted = step.worker(entry, context), []
        worker.setup()
        for record in records:
            try:
                emitted += list(worker.process(record, rng_for(0, step.name, record.key)))
            except Dropped as drop:
                built.reasons[drop.reason] += 1
        assert len({record.key for record in emitted if isinstance(record, Record)}) in (len(emitted), 0)
        records = emitted
    built.samples = records
    return built


def captions(built: Built) -> list[str]:
    return [part.text for sample in built.samples for part in sample.parts() if isinstance(part, TextPart)]


def tar(folder: Path, *texts: str, **meta: Any) -> dict[str, Any]:
    members = [each for number, caption in enumerate(texts) for each in pair_members(number, caption, **meta)]
    write_tar(folder / "a.tar", members)
    return {"sources": [{"files": ["a.tar"], "licence": "CC0-1.0"}]}


def test_the_committed_pages_give_pairs() -> None:
    built = build(WEB, ROOT)
    assert len(built.samples) >= 8
    assert all([type(part) for part in sample.parts()] == [ImagePart, TextPart] for sample in built.samples)
    assert {sample.source.traits["role"] for sample in built.samples} == {"alt", "above"}
    assert {sample.task for sample in built.samples} == {"knowledge.pairs"}
    assert all(sample.scores["lexical_similarity"] >= 0.3 for sample in built.samples)
    assert built.reasons["decoration"] > 0
    again = build(WEB, ROOT)
    assert [sample.id for sample in again.samples] == [sample.id for sample in built.samples]


def test_pairs_of_a_tar_keep_their_caption_and_provenance(tmp_path: Path) -> None:
    built = build(tar(tmp_path, "A water mill by the river.", license="CC-BY-4.0"), tmp_path)
    (sample,) = built.samples
    assert captions(built) == ["A water mill by the river."]
    assert sample.source.uri == "a.tar#000000000"
    assert sample.source.licence == "CC-BY-4.0"
    assert sample.images[0].data is None
    assert sample.images[0].read() == png(0)


@pytest.mark.parametrize(
    ("caption", "languages", "named"),
    [
        ("A water mill by the river.", [], None),
        ("河边有一座古老的水磨坊。", [], None),
        ("Das alte Haus steht am Ende einer langen und schmalen Straße.", [], ("German", "德语")),
        ("Un moulin.", ["fr"], ("French", "法语")),
    ],
)
def test_a_request_names_the_language_of_a_caption_that_is_in_another(
    tmp_path: Path, caption: str, languages: list[str], named: tuple[str, str] | None
) -> None:
    fields = {"kind": "conversation", "languages": languages, "characters": [4, 600]}
    (sample,) = build({**tar(tmp_path, caption), **fields}, tmp_path).samples
    (request,) = [part.text for part in list(sample.parts())[:2] if isinstance(part, TextPart)]
    assert (named is None) == (not any(name in request for name in ("German", "德语", "French", "法语")))
    if named is not None:
        assert any(name in request for name in named)


@pytest.mark.parametrize(
    ("caption", "changes", "reason"),
    [
        ("IMG_2041.jpg", {}, "no_fitting_text"),
        ("Mill", {}, "no_fitting_text"),
        ("x" * 700, {}, "no_fitting_text"),
        ("of the and", {"scorer": {"kind": "lexical", "min_similarity": 0.4}}, "low_similarity"),
        ("Mae hen felin ddŵr ar lan yr afon yn ymyl y pentref.", {"kind": "conversation"}, "language"),
        ("Das alte Haus steht am Ende einer langen und schmalen Straße.", {"languages": ["en"]}, "language"),
        ("A water mill by the river.", {"image_sides": [300, 900]}, "too_small"),
        ("A water mill by the river.", {"max_aspect": 1.1}, "aspect_ratio"),
        ("A water mill by the river.", {"min_detail": 0.999}, "blank_image"),
        ("A water mill by the river.", {"licences": ["MIT"]}, "licence"),
    ],
)
def test_pairs_are_dropped_for_a_reason(tmp_path: Path, caption: str, changes: dict[str, Any], reason: str) -> None:
    built = build({**tar(tmp_path, caption), **changes}, tmp_path)
    assert (built.samples, built.reasons) == ([], {reason: 1})


def test_a_record_without_text_or_image_is_counted(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [("a.png", png(1)), ("b.txt", b"A text.")])
    built = build({"sources": [{"files": ["a.tar"], "licence": "CC0-1.0"}]}, tmp_path)
    assert built.reasons == {"no_text": 1, "no_image": 1}


def test_stated_scores_filter_those_pairs_that_have_them(tmp_path: Path) -> None:
    columns = {
        "image": [png(number) for number in range(3)],
        "text": ["A mill by the river."] * 3,
        "similarity": [0.2, 0.35, None],
    }
    write_table(tmp_path / "a.parquet", columns)
    sources = {"sources": [{"files": ["a.parquet"], "licence": "CC0-1.0"}], "stated": {"stated_similarity": [0.28, 1]}}
    built = build(sources, tmp_path)
    assert [sample.scores.get("stated_similarity") for sample in built.samples] == [0.35, None]
    assert built.reasons == {"stated_similarity": 1}


def test_questions_ask_in_the_language_of_the_text(tmp_path: Path) -> None:
    fields = {
        **tar(tmp_path, *["A water mill by the river."] * 60, *["河边有一座老水车和磨坊。"] * 60),
        "kind": "conversation",
    }
    built = build(fields, tmp_path)
    questions = Counter(
        part.text for sample in built.samples for part in sample.messages[0].content if isinstance(part, TextPart)
    )
    assert len(questions) > 40
    for sample in built.samples:
        question = "".join(part.text for part in sample.messages[0].content if isinstance(part, TextPart))
        assert bool(re.search("[一-鿿]", question)) == bool(re.search("[一-鿿]", sample.answer()))


def test_common_concepts_are_capped_by_a_table(tmp_path: Path) -> None:
    (tmp_path / "counts.tsv").write_text("mill\t2000\nboat\t3\n")
    fields = tar(tmp_path, *["A water mill by the river."] * 200, *["A small boat by the river."] * 3)
    built = build({**fields, "balance": {"counts": "counts.tsv", "cap": 500}}, tmp_path)
    mills = sum("mill" in caption for caption in captions(built))
    assert 30 < mills < 70
    assert sum("boat" in caption for caption in captions(built)) == 3
    assert built.reasons == {"common_concepts": 200 - mills}
    assert {sample.scores["balance"] for sample in built.samples} == {0.25, 1.0}


def test_a_model_chooses_the_text_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scorer is replaced, the model itself is tested in `test_clip.py`: here, what its numbers decide."""

    class Longest:
        def __init__(self, folder: str, head: str) -> None:
            assert folder == str(tmp_path / "clip")

        def score(self, images: list[Any], texts: list[list[str]]) -> tuple[list[list[float]], list[float]]:
            return [[len(text) / 1000 for text in group] for group in texts], [5.0] * len(images)

    monkeypatch.setattr("step3vl.pipelines.domains.knowledge_pairs.ClipModel", Longest)
    (tmp_path / "clip").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "clip" / name).write_text("{}")
    columns = {
        "image": [png(1), png(2)],
        "title": ["A mill.", "A dam."],
        "content": ["A mill by the river.", "A dam!"],
    }
    write_table(tmp_path / "a.parquet", columns)
    scorer = {"kind": "clip", "folder": str(tmp_path / "clip"), "min_similarity": 0.01, "min_aesthetic": 4}
    fields = {"sources": [{"files": ["a.parquet"], "licence": "CC0-1.0"}], "scorer": scorer, "characters": [5, 100]}
    built = build(fields, tmp_path)
    assert captions(built) == ["A mill by the river."]
    assert built.samples[0].scores["clip_similarity"] == 0.02
    assert built.samples[0].scores["aesthetic"] == 5
    assert built.reasons == {"low_similarity": 1}
    strict = build({**fields, "scorer": {**scorer, "min_aesthetic": 6}}, tmp_path)
    assert strict.reasons == {"aesthetic": 1, "low_similarity": 1}
    assert clip.ClipModel is not Longest


def test_pairs_without_an_image_pass_the_model_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unused:
        def __init__(self, *arguments: object) -> None: ...

        def score(self, images: list[Any], texts: list[Any]) -> tuple[list[Any], list[Any]]:
            assert (images, texts) == ([], [])
            return [], []

    monkeypatch.setattr("step3vl.pipelines.domains.knowledge_pairs.ClipModel", Unused)
    scorer = {"kind": "clip", "folder": str(tmp_path)}
    entry = DOMAINS["knowledge.pairs"].entry.model_validate(
        {"domain": "knowledge.pairs", "name": "t", **WEB, "scorer": scorer}
    )
    pair = Pair(uri="x", licence="y", reason="damaged")
    assert ScorePairs(entry)([pair]) == [pair]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    for number in range(3):
        (folder / f"mill-{number}.png").write_bytes(png(number))
    (folder / "page.png").write_text("<html>no image</html>")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing to report."""

    handler = partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


FETCH = {"allow_loopback": True, "host_interval": 0, "seconds": 5}


def test_images_of_tables_are_fetched_once_and_failures_have_a_reason(tmp_path: Path, server: str) -> None:
    names = ["mill-0.png", "gone.png", "page.png", "mill-1.png"]
    columns = {
        "url": [f"{server}/{name}" for name in names],
        "caption": [f"A water mill, view {n}." for n in range(4)],
    }
    write_table(tmp_path / "a.parquet", columns)
    fields = {"sources": [{"files": ["a.parquet"], "licence": "CC0-1.0"}], "fetch": FETCH}
    built = build(fields, tmp_path, root=str(tmp_path / "root"))
    assert [sample.images[0].data for sample in built.samples] == [png(0), png(1)]
    assert built.reasons == {"fetch_http_404": 1, "fetch_not_an_image": 1}
    for file in (tmp_path / "served").iterdir():
        file.unlink()
    again = build({**fields, "characters": [5, 300]}, tmp_path, root=str(tmp_path / "root"))
    assert [sample.id for sample in again.samples] == [sample.id for sample in built.samples]
    assert build(fields, tmp_path, root=str(tmp_path / "other")).reasons == {"fetch_http_404": 4}


def test_images_of_interleaved_tables_are_fetched(tmp_path: Path, server: str) -> None:
    text = (
        "The water mill stands by the river, and its wheel drives the stones that grind the grain. In dry summers it "
        "has to wait for rain, and the farmers of the valley wait with it."
    )
    columns = {
        "texts": [[text, None, None, "More."]],
        "images": [[None, f"{server}/mill-0.png", f"{server}/no.png", None]],
    }
    write_table(tmp_path / "a.parquet", columns)
    fields = {"sources": [{"files": ["a.parquet"], "licence": "CC0-1.0"}], "fetch": FETCH}
    (sample,) = build(fields, tmp_path, str(tmp_path / "root"), "knowledge.interleaved").samples
    assert [type(part) for part in sample.parts()] == [TextPart, ImagePart, TextPart]
    assert sample.images[0].data == png(0)
    assert sample.scores == {"failed_images": 0.5, "images_fetch_http_404": 1.0}
    pairs = build(fields, tmp_path, str(tmp_path / "root"))
    assert pairs.reasons["fetch_http_404"] == 1
