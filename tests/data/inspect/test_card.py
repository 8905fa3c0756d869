"""Cards of a dataset."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as PILImage

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.inspect.card import write_card
from step3vl.data.sample.sample import Sample
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import DEFAULT_STORE


@pytest.mark.parametrize("scheme", ["local", "memory"])
def test_card_has_tables_and_a_contact_sheet(dataset: Dataset, tmp_path: Path, scheme: str) -> None:
    url = {"local": str(tmp_path), "memory": "memory://card"}[scheme]
    dead_letters = [DeadLetter(step="read", error="dropped", reason="too <small>", source="page.png")]
    write_card(dataset, url, dead_letters)
    files = Store(url, DEFAULT_STORE)
    markdown, page = (files.read_all(name).decode() for name in ("card.md", "card.html"))
    assert "| 32 to 63 | 80 |" in markdown and "CC0-1.0" in markdown and "too <small>" in markdown
    assert '<td class="number">120<' in page and "too &lt;small&gt;" in page
    assert 'src="contact_sheet.png"' in page
    sheet = PILImage.open(io.BytesIO(files.read_all("contact_sheet.png")))
    assert sheet.size == (6 * 200, 244), "one task has images"


def test_card_of_a_dataset_of_text_has_an_empty_sheet(
    tmp_path: Path, build_dataset: Callable[..., Dataset], make_sample: Callable[..., Sample]
) -> None:
    dataset = build_dataset(tmp_path / "set", [make_sample(number, with_images=False) for number in range(20)])
    write_card(dataset, tmp_path / "card")
    assert "education.sum" in (tmp_path / "card" / "card.md").read_text()
