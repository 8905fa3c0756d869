from pathlib import Path

import pytest
import yaml

from step3vl.pipelines.models import ocr


def test_the_model_folders_are_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    detection, recognition = ocr.model_folders()
    config = yaml.safe_load((recognition / "inference.yml").read_text("utf-8"))
    assert {"月", "A", "7"} <= set(config["PostProcess"]["character_dict"])
    before = (detection / "inference.onnx").stat().st_mtime_ns
    assert ocr.model_folders() == (detection, recognition)
    assert (detection / "inference.onnx").stat().st_mtime_ns == before
    assert [path.name.startswith(".") for path in (tmp_path / "step3vl").iterdir()] == [False]
