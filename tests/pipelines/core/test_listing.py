"""Inputs of entries become fragments in Beam's workers; what has not changed stays together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from step3vl.data.errors import UserError
from step3vl.pipelines.core.accounts import InputTotal, Report
from step3vl.pipelines.core.beam import WriteList, WriteReport, read_list, read_report, run_pipeline
from step3vl.pipelines.core.fragments import number_fragments
from step3vl.pipelines.core.inputs import InputFile, file_hash
from step3vl.pipelines.core.listing import HashInputs, ListFiles, ListInputs, number_counts
from step3vl.pipelines.core.segment import segments_of
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.waves import Chains
from step3vl.pipelines.core.work_list import Work


@pytest.fixture
def chains(cards: Any) -> Callable[..., Chains]:
    def chains(**entries: Any) -> Chains:
        made = [cards.CardEntry(name=name, **fields) for name, fields in entries.items()]
        return Chains(tuple(segment for entry in made for segment in segments_of(entry, 0, "")), models_on_ray=True)

    return chains


def write_files(folder: Path, *numbers: int) -> None:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        (folder / f"{number}.txt").write_text(str(number))


def listed(chains: Chains, staging: Staging, fraction: float = 1.0, *, save: bool = True) -> tuple[list[Work], Report]:
    def wire(pipeline: beam.Pipeline, staging: Staging) -> None:
        listing = pipeline | ListInputs(chains, staging, fraction, save=save)
        _ = listing.work | WriteList(staging, "work.json")
        _ = listing.reports | WriteReport(staging, "report.json")

    run_pipeline("list", (), staging, wire)
    return [Work.load(text) for text in read_list(staging, "work.json")], read_report(staging, "report.json")


def hashed(chains: Chains, staging: Staging) -> dict[str, InputTotal]:
    def wire(pipeline: beam.Pipeline, staging: Staging) -> None:
        _ = pipeline | HashInputs(chains, staging, 1.0) | WriteReport(staging, "hashes.json")

    run_pipeline("hash", (), staging, wire)
    return read_report(staging, "hashes.json").inputs


def keys(works: list[Work]) -> list[str]:
    return sorted(file.key for work in works for file in work.fragment.files)


def test_numbers_of_every_entry_become_blocks(chains: Callable[..., Chains], staging: Staging) -> None:
    made = chains(a={"count": 260_000}, b={"count": 3})
    works, report = listed(made, staging)
    expected = [Work(0, fragment) for fragment in number_fragments(0, 260_000)] + [
        Work(3, fragment) for fragment in number_fragments(0, 3)
    ]
    assert sorted(work.dump() for work in works) == sorted(work.dump() for work in expected)
    assert report.inputs == {"a": InputTotal(count=260_000), "b": InputTotal(count=3)}


def test_a_fraction_uses_the_first_numbers_so_that_its_fragments_serve_again(chains: Callable[..., Chains]) -> None:
    made = chains(a={"count": 10_000}, b={"count": 3})
    assert number_counts(made, 0.01) == {0: 100, 3: 1}
    assert number_counts(made, 1.0) == {0: 10_000, 3: 3}


def test_every_file_is_in_one_fragment_and_counted_once(
    chains: Callable[..., Chains], staging: Staging, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", *range(300))
    made = chains(a={"files": ("in/*.txt", "in/1*.txt")}, b={"count": 1})
    works, report = listed(made, staging)
    assert keys(works) == sorted(f"in/{number}.txt" for number in range(300))
    assert report.inputs["a"].count == 300 and report.inputs["a"].listing


def test_a_new_file_makes_a_fragment_of_its_own_and_a_changed_one_too(
    chains: Callable[..., Chains], staging: Staging, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", *range(300))
    made = chains(a={"files": ("in/*.txt",)})
    before, first = listed(made, staging)
    assert listed(made, staging) == (before, first)
    write_files(tmp_path / "in", 1000)
    after, second = listed(made, staging)
    (new,) = [work for work in after if work not in before]
    assert keys([new]) == ["in/1000.txt"] and len(after) == len(before) + 1
    assert second.inputs["a"].listing != first.inputs["a"].listing
    (tmp_path / "in" / "1000.txt").unlink()
    assert listed(made, staging) == (before, first)


def test_the_listing_alone_has_the_hash_of_the_listing_with_its_files(
    chains: Callable[..., Chains], staging: Staging, tmp_path: Path
) -> None:
    """By which a build with nothing to do knows its inputs; it compares millions of files and holds none."""
    write_files(tmp_path / "in", *range(30))
    made = chains(a={"files": ("in/*.txt", "in/1*.txt")}, b={"count": 1})

    def hashes(fraction: float) -> dict[str, str]:
        def wire(pipeline: beam.Pipeline, staging: Staging) -> None:
            _ = (pipeline | ListFiles(made, staging, fraction, packs=False)).reports | WriteReport(
                staging, "alone.json"
            )

        run_pipeline("list", (), staging, wire)
        return {name: total.listing for name, total in read_report(staging, "alone.json").inputs.items()}

    for fraction in (1.0, 0.5):
        _, report = listed(made, staging, fraction)
        assert hashes(fraction) == {"a": report.inputs["a"].listing}
    assert hashes(1.0) != hashes(0.5)
    before = hashes(1.0)
    (tmp_path / "in" / "7.txt").write_text("changed")
    assert hashes(1.0) != before


def test_a_plan_that_is_only_looked_at_is_not_kept(
    chains: Callable[..., Chains], staging: Staging, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", 1)
    listed(chains(a={"files": ("in/*.txt",)}), staging, save=False)
    assert not (Path(staging.root) / "a").exists()


def test_a_fraction_of_the_files_is_a_part_of_every_larger_one(
    chains: Callable[..., Chains], staging: Staging, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", *range(200))
    made = chains(a={"files": ("in/*.txt",)})
    small, _ = listed(made, staging, 0.1)
    large, _ = listed(made, staging, 0.5)
    assert 5 < len(keys(small)) < 40 and 70 < len(keys(large)) < 130
    assert set(keys(small)) < set(keys(large))
    assert [work for work in small if work in large] == small, "fragments are kept"


def test_a_pattern_that_matches_nothing_is_named(chains: Callable[..., Chains], staging: Staging) -> None:
    with pytest.raises(UserError, match=r"a: no file matches 'in/\*\.txt' from .*; correct the pattern"):
        listed(chains(a={"files": ("in/*.txt",)}), staging)


def test_contents_are_hashed_with_their_keys_and_without_times(
    chains: Callable[..., Chains], staging: Staging, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", *range(20))
    made = chains(a={"files": ("in/*.txt", "in/1*.txt")})
    before = hashed(made, staging)
    files = [
        InputFile(key=f"in/{number}.txt", url=str(tmp_path / f"in/{number}.txt"), size=0, version="", licence="")
        for number in range(20)
    ]
    total = sum(file_hash(file, Path(file.url)) for file in files) % 2**128
    assert before == {"a": InputTotal(count=20, content=f"{total:032x}")}
    (tmp_path / "in" / "3.txt").write_text("3")
    assert hashed(made, staging) == before, "its time is another, its content the same"
    (tmp_path / "in" / "3.txt").write_text("4")
    assert hashed(made, staging) != before


def test_the_transform_reports_the_totals(chains: Callable[..., Chains], staging: Staging) -> None:
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.testing.test_pipeline import TestPipeline as BeamTestPipeline

    made = chains(a={"count": 3})
    with BeamTestPipeline(runner=FnApiRunner()) as pipeline:
        listing = pipeline | ListInputs(made, staging, 1.0)
        assert_that(listing.work, equal_to([Work(0, next(number_fragments(0, 3))).dump()]), "work")
        expected = Report(inputs={"a": InputTotal(count=3)}).model_dump_json(exclude_defaults=True)
        assert_that(listing.reports, equal_to([expected]), "reports")
