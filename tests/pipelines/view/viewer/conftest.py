"""A dataset with a sample of everything that the pages show, and an earlier build of it."""

import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from fastapi import FastAPI
from PIL import Image as PILImage
from starlette.testclient import TestClient

from step3vl.data.dataset import (
    DROPPED,
    Counting,
    Dataset,
    DeadLetter,
    LedgerStep,
    commit,
    dead_letter_part,
    shard_name,
    shard_of,
    split_of,
    write_dead_letters,
    write_shard,
)
from step3vl.data.sample import (
    Action,
    ActionTruth,
    BoxTruth,
    Image,
    Message,
    Sample,
    Source,
    TokenCount,
    conversation,
    image,
    text,
)
from step3vl.data.sample.crops import ImageSpec
from step3vl.data.storage import DEFAULT_STORE, Store
from step3vl.pipelines.curation.evidence import evidence_part, write_evidence
from step3vl.pipelines.view.viewer import create_app

HOSTILE = "<script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\">"
BOXES = '[{"bbox_2d": [100, 200, 500, 600], "label": "cat"}, {"bbox_2d": [0, 0, 1000, 100], "label": "sky"}]'
TABLE = "| Tram | Trips |\n| --- | --- |\n| 1 | 305 |\n| 2 | 185 |"
PAGE = f"<!doctype html><html><body><h1>Shop</h1>{HOSTILE}<style>h1{{color:red}}</style></body></html>"
DUPLICATE_ID = "f" * 32  # of a sample that was dropped


def encoded(size: tuple[int, int], colour: str, format: str = "PNG") -> Image:
    buffer = io.BytesIO()
    PILImage.new("RGB", size, colour).save(buffer, format)
    return Image.from_bytes(buffer.getvalue())


def make(task: str, question: str, answer: str, uri: str, **more: object) -> Sample:
    images = (encoded((400, 200), "skyblue"),)
    fields = {"messages": conversation((image(0), text(question)), answer), "images": images, **more}
    source = Source(uri=uri, licence="CC0-1.0", collected_by="tests")
    sample = Sample.make(domain=task.split(".")[0], task=task, source=source, **fields)
    return sample.model_copy(update={"tokens": TokenCount(text=9, image=2)})


def trajectory() -> Sample:
    """Three screens: a click, a slide, and the end."""
    actions = [
        Action(action="click", point_2d=(250, 500)),
        Action(action="slide", point_2d=(500, 900), end_point_2d=(500, 100)),
        Action(action="complete", text="done"),
    ]
    messages = [Message(role="user", content=(image(0), text("Open the shop.")))]
    for number, action in enumerate(actions):
        messages.append(Message(role="assistant", content=(text(action.to_text()),), reasoning_content="I look."))
        if number < 2:
            messages.append(Message(role="tool", content=(image(number + 1),)))
    screens = tuple(encoded((100, 200), colour) for colour in ("white", "grey", "black"))
    truth = ActionTruth(action=actions[-1])
    return make("gui.trajectory", "", "", "apps/shop", messages=tuple(messages), images=screens, truth=truth)


def counting(number: int) -> Sample:
    return make("counting.icons", f"How many? {number}", str(number), f"icons/{number}", scores={"clip": number / 60})


def the_samples() -> dict[str, Sample]:
    truth = BoxTruth(boxes=((100, 200, 480, 600), (0, 0, 1000, 100)), labels=("cat", "sky"))
    content = (text("Once upon a time"),)
    document = make("text.page", "", "", "books/1", messages=None, images=(), content=content)
    tiff = make("ocr.scan", "Read.", "Ahoj", "scans/1", images=(encoded((30, 20), "red", "TIFF"),))
    return {
        "boxes": make("grounding.boxes", "Where are the cat and the sky?", BOXES, "photos/1", truth=truth),
        "trajectory": trajectory(),
        "table": make("ocr.table", "Tabulate.", TABLE, "charts/1"),
        "html": make("ocr.html", f"Write the page. {HOSTILE}", PAGE, f"pages/{HOSTILE}"),
        "tiff": tiff,
        "document": document,
    }


def build(root: Path, samples: Iterable[Sample], heldout: float = 0.2, shards: int = 2) -> Dataset:
    samples = sorted(samples, key=lambda sample: sample.id)
    written = []
    for split in ("train", "heldout"):
        for number in range(shards):
            part = [s for s in samples if split_of(s.id, heldout) == split and shard_of(s.id, shards) == number]
            if part:
                written.append(write_shard(root, shard_name("test", split, number, shards), split, part))
    kept = len(samples)
    ledger = [
        LedgerStep(name="icons.build", read=kept + 3, kept=kept, dropped={"too_small": 2}, failed={"ValueError": 1}),
        LedgerStep(name="curate.near", read=kept + 1, kept=kept, dropped={"near_duplicate": 1}),
    ]
    counting = Counting(tokenizer="qwen3", tokenizer_sha256="0" * 64, image=ImageSpec())
    return commit(root, name="test", shards=written, ledger=ledger, counting=counting, config={}, code_version="test")


def add_drops(root: Path, matched: str) -> None:
    """Dead letters, and the evidence of a curation."""
    letters = [
        *(DeadLetter(step="icons.build", error=DROPPED, reason="too_small", source=f"icons/{n}") for n in (90, 91)),
        DeadLetter(step="icons.build", error="ValueError", reason=f"bad {HOSTILE}", source="icons/92"),
        DeadLetter(step="curate.near", error=DROPPED, reason="near_duplicate", source=DUPLICATE_ID),
    ]
    write_dead_letters(Store(str(root), DEFAULT_STORE), dead_letter_part(0, 1), letters)
    row = {
        "id": DUPLICATE_ID, "dataset": "raw", "step": "curate.near", "reason": "near_duplicate", "matched_id": matched,
        "matched_dataset": "raw", "similarity": 0.87, "phash": 2, "pdq": 12, "detail": "",
    }  # fmt: skip
    filtered = {
        "id": "e" * 32, "dataset": "raw", "step": "curate.filter", "reason": "too_long", "matched_id": "",
        "matched_dataset": "", "value": 120_000.0, "limit": 100_000.0, "detail": "",
    }  # fmt: skip
    write_evidence(Store(str(root), DEFAULT_STORE), evidence_part(0, 1), [row, filtered])


@pytest.fixture(scope="session")
def build_dataset() -> Callable[..., Dataset]:
    """build(root, samples, heldout, shards): commits a dataset."""
    return build


@pytest.fixture(scope="session")
def samples() -> dict[str, Sample]:
    return the_samples()


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Sample]) -> Dataset:
    """60 samples to count and one of each other kind, of two splits with two shards each."""
    root = tmp_path_factory.mktemp("viewer") / "after"
    built = build(root, [*samples.values(), *map(counting, range(60))])
    add_drops(root, samples["boxes"].id)
    return built


@pytest.fixture(scope="session")
def earlier(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Sample]) -> Dataset:
    """Without the table; with an icon more; with another page, and another split."""
    page = make("ocr.html", "Write the page.", PAGE.replace("Shop", "Mall"), samples["html"].source.uri)
    others = [samples[name] for name in ("boxes", "trajectory", "tiff", "document")]
    root = tmp_path_factory.mktemp("viewer") / "before"
    return build(root, [page, *others, *map(counting, range(61))], heldout=0.5, shards=3)


@pytest.fixture(scope="session")
def app(dataset: Dataset, earlier: Dataset) -> FastAPI:
    return create_app(dataset, earlier, seconds=60)  # machines that run tests are busy


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1", follow_redirects=False)


@pytest.fixture
def links() -> Callable[[str, str], list[str]]:
    """links(html, beginning): the addresses in a page that begin so."""

    def links(html: str, beginning: str) -> list[str]:
        return [
            href.replace("&amp;", "&") for href in re.findall(r'href="([^"]*)"', html) if href.startswith(beginning)
        ]

    return links
