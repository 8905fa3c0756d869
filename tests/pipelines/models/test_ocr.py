import subprocess
import sys
from ast import literal_eval
from pathlib import Path

import pytest
import yaml

from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.models import ocr
from step3vl.pipelines.models.text_finder import TextFinder
from step3vl.pipelines.render.pages.page import render_lines
from step3vl.pipelines.render.style import FontFace, plain


def test_the_model_folders_are_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    detection, recognition = ocr.model_folders()
    config = yaml.safe_load((recognition / "inference.yml").read_text("utf-8"))
    assert {"月", "A", "7"} <= set(config["PostProcess"]["character_dict"])
    before = (detection / "inference.onnx").stat().st_mtime_ns
    assert ocr.model_folders() == (detection, recognition)
    assert (detection / "inference.onnx").stat().st_mtime_ns == before
    assert [path.name.startswith(".") for path in (tmp_path / "step3vl").iterdir()] == [False]


_READ = """
import sys
from PIL import Image
from step3vl.pipelines.models.ocr import OcrModel
(line,) = OcrModel().read(Image.open(sys.argv[1]))
heavy = {"torch", "transformers", "modelscope"} & sys.modules.keys()
print([line.text, line.score, line.box.space, line.box.x1, line.box.x2, sorted(heavy)])
"""


@pytest.mark.slow
def test_a_line_is_read_with_its_box_and_nothing_else_is_printed_or_imported(
    context: StepContext, tmp_path: Path
) -> None:
    image = plain((320, 48), (250, 250, 245))
    (font,) = context.assets(["assets:fonts/DejaVuSans.ttf"])
    render_lines(image, ["Hello OCR 2026"], FontFace(font).at(26), (8, 8), (10, 10, 10))
    image.save(tmp_path / "line.png")
    done = subprocess.run([sys.executable, "-c", _READ, tmp_path / "line.png"], capture_output=True, text=True)
    assert done.stderr == ""
    text, score, space, left, right, heavy = literal_eval(done.stdout)
    assert (text, heavy) == ("Hello OCR 2026", []) and score > 0.9
    assert space == "pixels" and 0 <= left < 20 and 180 < right <= 320


def test_the_label_checks_of_a_process_share_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[ocr.OcrModel] = []
    monkeypatch.setattr(ocr.OcrModel, "__init__", lambda self: loaded.append(self))
    ocr.OcrModel.shared.cache_clear()
    try:
        for _ in range(3):
            TextFinder()
    finally:
        ocr.OcrModel.shared.cache_clear()
    assert len(loaded) == 1
