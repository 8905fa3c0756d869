"""What tests of the core share: samples with an image, told apart by their numbers."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.sample import Sample, Source, TextTruth
from step3vl.pipelines.core.domain import Domain
from step3vl.pipelines.core.fragment_writer import FragmentWriter
from step3vl.pipelines.core.fragments import Fragment, FragmentResult, RowRange
from step3vl.pipelines.core.samples import compose, encode_jpeg
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.domains import DOMAINS
from step3vl.pipelines.render.style import plain

HERE = Path(__file__).parent


@pytest.fixture
def make_sample() -> Callable[..., Sample]:
    def make_sample(number: int, by: str = "tests", size: tuple[int, int] = (20, 20)) -> Sample:
        return compose(
            kind="conversation",
            domain="ocr",
            task="ocr.test",
            question="Read it.",
            answer=str(number),
            truth=TextTruth(text=str(number)),
            images=[encode_jpeg(plain(size, (number % 256, 0, 0)))],
            source=Source(uri=f"n/{number}", licence="CC0-1.0", collected_by=by),
        )

    return make_sample


@pytest.fixture
def use_domain(monkeypatch: pytest.MonkeyPatch) -> Callable[[Domain[Any]], None]:
    """Registers a domain for the test, in this process."""
    return lambda domain: monkeypatch.setitem(DOMAINS, domain.name, domain)


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch, use_domain: Callable[[Domain[Any]], None]) -> Iterator[Any]:
    """The module of a small domain, registered, that processes of this one can import."""
    monkeypatch.syspath_prepend(str(HERE))
    import segment_targets

    use_domain(segment_targets.DOMAIN)
    yield segment_targets


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(str(tmp_path / "root"), str(tmp_path))


@pytest.fixture
def stage_samples(staging: Staging) -> Callable[[Sequence[Sample], int], list[Fragment]]:
    """Commits samples as so many fragments of the entry `t`, and returns these as a work list names them."""

    def stage_samples(samples: Sequence[Sample], parts: int) -> list[Fragment]:
        store = staging.open()
        fragments = []
        for part in range(parts):
            name, path = f"{parts}-{part}", f"t/build-x/{parts}-{part}"
            with FragmentWriter(store, path, Sample) as writer:
                for number, sample in enumerate(samples[part::parts]):
                    writer.write(writer.prepare(str(number), [sample]))
                result = writer.commit(FragmentResult(id=name, rows=0))
            fragments.append(Fragment(id=name, rows=RowRange(path=path, start=0, stop=result.rows)))
        return fragments

    return stage_samples
