"""Built-in domains and those of other packages; whatever is wrong with a package, its name is said."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest
from pydantic import create_model

from step3vl.data.errors import UserError
from step3vl.data.sample import Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, GeneratedEntry
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains import DOMAINS, GROUP, Domains
from step3vl.pipelines.domains.maps import DOMAIN, MapsEntry


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., EntryPoint]:
    """An entry point of an installed package, whose module holds `domain`."""

    def plugin(domain: Any, value: str = "someones_domain:DOMAIN") -> EntryPoint:
        module = ModuleType("someones_domain")
        module.DOMAIN = domain  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "someones_domain", module)
        info = tmp_path / "someones_domain-1.2.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someones-domain\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\nmine = {value}\n")
        (point,) = Distribution.at(info).entry_points
        return point

    return plugin


def another(name: str) -> Domain[Any]:
    return Domain(create_model("GlobeEntry", __base__=MapsEntry, domain=(Literal[name], ...)), DOMAIN.steps)


def test_a_domain_of_another_package_is_known_beside_the_built_in_ones(plugin: Callable[..., EntryPoint]) -> None:
    domains = Domains([plugin(another("globe"))])
    assert set(domains) == {*Domains([]), "globe"} and len(domains) == len(Domains([])) + 1


def test_a_domain_has_the_name_that_it_is_listed_under() -> None:
    assert {name: domain.name for name, domain in DOMAINS.items()} == {name: name for name in DOMAINS}


def test_a_worker_imports_no_other_domain() -> None:
    code = "import step3vl.pipelines.domains.maps, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    domains = {name for name in done.stdout.split() if name.startswith("step3vl.pipelines.domains.")}
    assert domains == {"step3vl.pipelines.domains.maps"}


@pytest.mark.parametrize("value", ["no_such_module:DOMAIN", "someones_domain:NOTHING"])
def test_a_package_that_cannot_be_loaded_is_named(plugin: Callable[..., EntryPoint], value: str) -> None:
    with pytest.raises(UserError, match=r"package someones-domain 1\.2 cannot be loaded: \w+Error: .*uninstall"):
        Domains([plugin(another("globe"), value)])


def test_what_is_no_domain_is_refused(plugin: Callable[..., EntryPoint]) -> None:
    with pytest.raises(UserError, match=r"someones-domain 1\.2 is a str, not a Domain"):
        Domains([plugin("a string")])


def test_two_domains_of_one_name_are_refused(plugin: Callable[..., EntryPoint]) -> None:
    message = r"someones-domain 1\.2 is named 'maps', as that of step3vl\.pipelines\.domains\.maps is"
    with pytest.raises(UserError, match=message):
        Domains([plugin(DOMAIN)])


GENERATED = [name for name, domain in DOMAINS.items() if issubclass(domain.entry, GeneratedEntry)]


@pytest.mark.parametrize("name", GENERATED)
def test_the_example_of_a_domain_builds_in_any_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    domain = DOMAINS[name]
    entry = domain.entry.model_validate({"domain": name, "name": "example", **domain.example})
    context = StepContext(seed=0, base=str(tmp_path))
    entry.check(context)
    records: list[Any] = [Record(f"example/{number}", number) for number in range(3)]
    for step in domain.steps_of(entry):
        assert isinstance(step, BeamStep)
        worker = step.worker(entry, context)
        worker.setup()
        outputs: list[Any] = []
        for record in records:
            with suppress(Dropped):
                outputs += worker.process(record, rng_for(0, step.name, record.key))
        records = outputs
    assert records and all(isinstance(sample, Sample) for sample in records)


def test_workers_can_be_pickled_before_they_are_set_up() -> None:
    for domain in DOMAINS.values():
        assert pickle.loads(pickle.dumps(domain.steps)) == domain.steps, domain.name
