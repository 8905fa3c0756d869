"""`make eval-offline` on a miniature: official files to numbers and a page, with a tiny model."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def offline() -> ModuleType:
    spec = importlib.util.spec_from_file_location("offline", Path(__file__).with_name("offline.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_official_files_become_numbers_and_a_page(
    offline: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "gsm8k").mkdir(parents=True)
    (tmp_path / "data" / "math-500").mkdir()  # without its file
    records = [{"question": f"How much is {n} + 1?", "answer": f"It is one more.\n#### {n + 1}"} for n in range(3)]
    (tmp_path / "data" / "gsm8k" / "test.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in records))
    monkeypatch.setattr(
        sys, "argv", ["offline", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--items", "2"]
    )
    assert offline.main() == 1, "three items are no release"
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("gsm8k")]
    assert line.split()[1:3] == ["3", "1,319"] and line.endswith("FAILED")
    (metrics,) = json.loads((tmp_path / "out" / "rows.json").read_text())
    assert (metrics["items"], metrics["failed"], metrics["missing"], metrics["items_of_release"]) == (2, 0, 0, 1319)
    assert "2 of 1319 items" in (tmp_path / "out" / "comparison.html").read_text()
