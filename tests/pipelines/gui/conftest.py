"""Pages to record, and a recorder for all tests of a module."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from step3vl.pipelines.gui.recorder import Recorder
from step3vl.pipelines.gui.site import FileSite
from step3vl.pipelines.gui.view import View

ROOT = Path(__file__).parents[3]
FONTS = sorted((ROOT / "data/step3vl/data/assets/fonts").glob("*.[to]tf"))
APPS = ROOT / "data/samples/web_apps"


@pytest.fixture(scope="session")
def recorder() -> Iterator[Recorder]:
    recorder = Recorder(FONTS)
    yield recorder
    recorder.close()


@pytest.fixture
def view() -> Callable[..., View]:
    def view(**fields: Any) -> View:
        values = {
            "seed": 3, "width": 640, "height": 480, "scale": 1.0, "theme": "light", "language": "en",
            "font": "DejaVu Sans", "font_size": 15, "accent": "#0b57d0", "radius": 4, "density": 1.0,
        }  # fmt: skip
        return View.model_validate({**values, **fields})

    return view


@pytest.fixture
def app() -> Callable[[str], FileSite]:
    """A page of `data/samples/web_apps`."""
    return lambda name: FileSite(APPS / f"{name}.html", [APPS / "kit.js", APPS / "kit.css"])


@pytest.fixture
def site(tmp_path: Path) -> Callable[[str], FileSite]:
    """A page of one's own, from what its body holds."""

    def site(body: str) -> FileSite:
        path = tmp_path / "page.html"
        path.write_text(f"<!doctype html><meta charset=utf-8><title>Page</title><body style='margin:0'>{body}")
        return FileSite(path)

    return site
