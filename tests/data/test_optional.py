"""Optional dependencies: imported where they are installed, else an error that names the extra."""

import json
from pathlib import Path

import pytest

from step3vl.data.errors import UserError
from step3vl.data.optional import require


def test_an_installed_module_is_imported() -> None:
    assert require("json.decoder", "pipelines") is json.decoder


def test_a_missing_package_is_named_with_the_extra_that_installs_it() -> None:
    with pytest.raises(UserError, match=r"needs the package no_such_package.*'step3vl\[training\]'"):
        require("no_such_package.part", "training")


def test_a_package_that_fails_to_import_another_one_raises_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_package.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        require("broken_package", "training")
