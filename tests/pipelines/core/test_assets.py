import re
from pathlib import Path

import fsspec
import pytest

from step3vl.data.errors import UserError
from step3vl.pipelines.core.assets import assets_fingerprint, packaged_assets
from step3vl.pipelines.core.context import StepContext


def test_packaged_files_have_the_same_keys_on_every_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    files = packaged_assets("assets:fonts/DejaVu*.ttf")
    assert sorted(files) == [
        "assets:fonts/DejaVuSans-Bold.ttf",
        "assets:fonts/DejaVuSans.ttf",
        "assets:fonts/DejaVuSansMono.ttf",
        "assets:fonts/DejaVuSerif.ttf",
    ]
    assert all(path.is_absolute() and path.is_file() for path in files.values())


@pytest.mark.parametrize("pattern", ["assets:fonts/no*.ttf", "assets:", "no/*.ttf"])
def test_a_pattern_that_matches_nothing_is_named(pattern: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(repr(pattern))):
        StepContext(seed=0, base=str(tmp_path)).assets([pattern])


@pytest.mark.parametrize("pattern", ["assets:../assets/fonts/*", "assets:/etc/*", "assets:fonts/../../*"])
def test_a_pattern_cannot_leave_the_packaged_folder(pattern: str) -> None:
    with pytest.raises(UserError, match="leaves the folder of packaged assets"):
        packaged_assets(pattern)


def test_assets_are_in_the_order_of_their_spelling_wherever_they_lie(tmp_path: Path) -> None:
    """The order decides random choices, so it must not depend on where a machine keeps the package."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.ttf").write_bytes(b"a")
    context = StepContext(seed=0, base=str(tmp_path))
    paths = context.assets(["mine/*.ttf", "assets:fonts/Oswald.ttf", "assets:fonts/O*.ttf"])
    assert [path.name for path in paths] == ["Oswald.ttf", "a.ttf"]


def test_assets_at_a_url_are_fetched(tmp_path: Path) -> None:
    files = fsspec.filesystem("memory")
    files.pipe({"/brand/b.ttf": b"b", "/brand/a.ttf": b"a"})
    context = StepContext(seed=0, base=str(tmp_path))
    try:
        assert [path.read_bytes() for path in context.assets(["memory://brand/*.ttf"])] == [b"a", b"b"]
    finally:
        files.rm("/brand", recursive=True)


def test_the_fingerprint_is_that_of_names_and_contents(tmp_path: Path) -> None:
    def write(folder: str, **files: str) -> list[Path]:
        (tmp_path / folder).mkdir()
        for name, text in files.items():
            (tmp_path / folder / name).write_text(text)
        return [tmp_path / folder / name for name in files]

    first = assets_fingerprint(write("here", star="*", moon="("))
    assert first == assets_fingerprint(write("there", star="*", moon="("))
    assert first != assets_fingerprint(write("changed", star="+", moon="("))
    assert first != assets_fingerprint(write("renamed", sun="*", moon="(")), "an icon is called what its file is"
    assert first != assets_fingerprint(write("turned", moon="(", star="*")), "random choices follow the order"
