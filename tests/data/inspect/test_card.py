"""Cards of a dataset."""

from pathlib import Path

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.inspect.card import write_card


def test_card_has_tables_and_a_contact_sheet(dataset: Dataset, tmp_path: Path) -> None:
    write_card(dataset, tmp_path / "card")
    markdown = (tmp_path / "card" / "card.md").read_text()
    assert "| 32 to 63 | 80 |" in markdown and "CC0-1.0" in markdown
    assert "contact_sheet.png" in (tmp_path / "card" / "card.html").read_text()
