"""Running fragments: every record is accounted for, files are committed whole, and what is done is not done again."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from xxhash import xxh3_64_intdigest

from step3vl.data.dataset import LedgerStep
from step3vl.data.errors import InfrastructureError, UserError
from step3vl.data.sample import Sample
from step3vl.data.storage import DEFAULT_STORE, StoreConfig, StoreError, use_store
from step3vl.pipelines.core import fragment_writer, fragments, steps
from step3vl.pipelines.core.blocks import unpack_sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.fragments import Fragment, FragmentResult, number_fragments, plan_fragments
from step3vl.pipelines.core.inputs import file_hash, list_pattern
from step3vl.pipelines.core.runner import SegmentRunner
from step3vl.pipelines.core.segment import Segment, next_fragments, segments_of
from step3vl.pipelines.core.steps import Record, rng_for

HERE = Path(__file__).parent
Run = Callable[..., list[list[FragmentResult]]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "RETRY_PAUSE", 0.001)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def run_all(
    segments: list[Segment], plan: list[Fragment], root: str, base: str, store: StoreConfig = DEFAULT_STORE
) -> list[list[FragmentResult]]:
    """The results of all fragments of each segment, as a driver without an engine gets them."""
    results = []
    for segment in segments:
        runner = SegmentRunner(segment, root, base, store)
        results.append([runner.run(fragment) for fragment in plan])
        plan = [following for result in results[-1] for following in next_fragments(segment, result)]
        runner.close()
    return results


@pytest.fixture
def run(cards: Any, root: Path, tmp_path: Path) -> Run:
    def run(count: int, faults: dict[int, str] | None = None) -> list[list[FragmentResult]]:
        entry = cards.CardEntry(name="e", count=count, faults=faults or {})
        plan = list(number_fragments(0, count))
        return run_all(segments_of(entry, 0, ""), plan, str(root), str(tmp_path))

    return run


def rows_of(root: Path, ending: str = "parquet") -> Iterator[dict[str, Any]]:
    for path in sorted(root.rglob(f"*.{ending}")):
        if ending != "parquet" or not path.name.endswith(".dead.parquet"):
            yield from pq.read_table(path).to_pylist()


def samples_of(root: Path) -> list[Sample]:
    samples = []
    for path in sorted(root.glob("e/ask-*/*.parquet")):
        part = path.with_suffix(".bin").read_bytes()
        for row in pq.read_table(path).to_pylist():
            block = part[row["offset"] : row["offset"] + row["size"]]
            assert xxh3_64_intdigest(block) == row["xxh3"]
            sample = unpack_sample(block, str(root))
            assert json.loads(block[: block.index(b"\n")]) == json.loads(row["row"])
            assert (sample.id, sample.kind, sample.domain, sample.task) == tuple(
                row[name] for name in ("id", "kind", "domain", "task")
            )
            samples.append(sample)
    return samples


def files_of(root: Path, *endings: str) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix in (endings or (".bin", ".parquet"))
    }


def test_the_samples_are_those_that_the_steps_make_one_by_one(
    cards: Any, run: Run, root: Path, context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fragments, "_NUMBERS", 20)
    assert len(run(50)[0]) == 3
    entry = cards.CardEntry(name="e", count=50)
    make, read, ask = cards.MakeCards(entry, context), cards.ReadCards(entry), cards.AskCards(entry, context)
    expected = [
        sample
        for number in range(50)
        for card in make.process(Record(f"e/{number}", number), rng_for(0, "e.make", f"e/{number}"))
        for sample in ask.process(Record(card.key, read([card.value])[0]), rng_for(0, "e.ask", card.key))
    ]
    samples = samples_of(root)
    assert [sample.id for sample in samples] == [sample.id for sample in expected]
    assert [image.read() for sample in samples for image in sample.images] == [
        image.read() for sample in expected for image in sample.images
    ]


def test_every_record_is_accounted_for(run: Run, root: Path) -> None:
    faults = {1: "drop", 2: "fail", 3: "twins", 4: "surrogate", 5: "model"}
    (made,), (read,), (asked,) = run(8, faults)
    failed = {"UnicodeEncodeError": 1, "ValueError": 2}
    assert made.accounts == (
        LedgerStep(name="e.make", read=8, kept=4, emitted=8, dropped={"unwanted": 1}, failed=failed),
    )
    assert read.accounts == (LedgerStep(name="e.read", read=8, kept=6, emitted=6, failed={"RuntimeError": 2}),)
    assert asked.accounts == (LedgerStep(name="e.ask", read=6, kept=6, emitted=12),)
    assert (made.rows, read.rows, asked.rows) == (8, 6, 12)
    failures = {(row["step"], row["error"], row["reason"], row["source"]) for row in rows_of(root, "dead.parquet")}
    assert ("e.make", "dropped", "unwanted", "e/1") in failures
    assert ("e.make", "ValueError", "2 is broken", "e/2") in failures
    assert ("e.make", "ValueError", "e.make emits two records with the key 'e/3/front'", "e/3") in failures
    assert ("e.read", "RuntimeError", "cannot read 5", "e/5/back") in failures
    assert len(failures) == 6


def test_a_failed_record_leaves_no_row_and_no_image(run: Run, root: Path) -> None:
    run(3, {1: "fail"})
    keys = [row["key"] for row in rows_of(root / "e") if "value" in row]
    assert {key for key in keys if key.startswith("e/1")} == set()
    (make,) = root.glob("e/make-*/*.bin")
    pointers = [row["value"]["image"]["at"] for row in pq.read_table(make.with_suffix(".parquet")).to_pylist()]
    assert sum(pointer["size"] for pointer in pointers) == make.stat().st_size


def test_a_batch_that_fails_is_read_again_one_by_one(cards: Any, run: Run) -> None:
    cards.ReadCards.batches.clear()
    run(6, {2: "model"})
    assert cards.ReadCards.batches == [4, 4, 1, 1, 1, 1, 4]


def test_the_commit_record_knows_its_files(run: Run, root: Path) -> None:
    for results, step in zip(run(4), ("make", "read", "ask"), strict=True):
        (result,) = results
        (folder,) = root.glob(f"e/{step}-*")
        names = {ending: (folder / f"{result.id}.{ending}").read_bytes() for ending in result.files}
        assert {path.name for path in folder.iterdir()} == {f"{result.id}.{ending}" for ending in (*names, "json")}
        for ending, data in names.items():
            assert result.files[ending] == len(data)
        assert FragmentResult.model_validate_json((folder / f"{result.id}.json").read_bytes()) == result
        assert result.written_bytes == sum(map(len, names.values()))
        assert result.seconds > 0


def test_texts_of_the_samples_are_counted_in_bytes(run: Run, root: Path) -> None:
    results = run(4)
    assert [part.text_bytes for segment in results[:2] for part in segment] == [0, 0]
    samples = samples_of(root)
    expected = sum(len(f"Read the card.{sample.answer()}".encode()) for sample in samples)
    assert sum(part.text_bytes for part in results[2]) == expected


def test_rows_hold_no_absolute_path(run: Run, root: Path) -> None:
    run(4)
    for data in files_of(root, ".bin", ".parquet", ".json").values():
        assert str(root).encode() not in data
    assert str(root) not in json.dumps(list(rows_of(root)), default=str)


def test_the_root_can_be_moved(cards: Any, run: Run, root: Path, tmp_path: Path) -> None:
    _, (read,), _ = run(4)
    root.rename(tmp_path / "moved")
    segments = segments_of(cards.CardEntry(name="e", count=4), 0, "")
    (fragment,) = next_fragments(segments[1], read)
    (tmp_path / "moved" / segments[2].folder / f"{fragment.id}.json").unlink()
    SegmentRunner(segments[2], str(tmp_path / "moved"), "/").run(fragment)
    assert all(image.read() for sample in samples_of(tmp_path / "moved") for image in sample.images)


def test_a_committed_fragment_is_not_worked_on_again(cards: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(4)
    monkeypatch.setattr(cards.MakeCards, "__init__", None)  # nothing is loaded either
    assert run(4) == first


def test_a_second_attempt_writes_the_same_bytes(run: Run, root: Path) -> None:
    run(70, {1: "drop", 2: "fail"})
    before = files_of(root)
    for record in root.rglob("*.json"):
        record.unlink()
    run(70, {1: "drop", 2: "fail"})
    assert files_of(root) == before


@pytest.mark.parametrize("damage", ["cut", "gone", "record"])
def test_a_fragment_whose_files_are_damaged_runs_again(
    run: Run, root: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = run(4)
    before = files_of(root)
    (part,) = root.glob("e/make-*/*.bin")
    if damage == "cut":
        part.write_bytes(part.read_bytes()[:-1])
    elif damage == "gone":
        part.unlink()
    else:
        part.with_suffix(".json").write_bytes(b'{"id": ')
    assert [[each.accounts for each in results] for results in run(4)] == [
        [each.accounts for each in results] for results in first
    ]
    assert files_of(root) == before
    assert "the fragment runs again" in caplog.text


def test_damaged_bytes_of_an_image_end_the_step_and_are_named(run: Run, root: Path) -> None:
    run(4)
    (part,) = root.glob("e/make-*/*.bin")
    data = bytearray(part.read_bytes())
    data[10] ^= 255
    part.write_bytes(data)
    for record in root.glob("e/read-*/*.json"):
        record.unlink()
    with pytest.raises(InfrastructureError, match=rf"step e\.read stopped at e/0/front: .*{part.name}"):
        run(4)


def test_what_the_machine_causes_is_tried_again_and_ends_the_fragment_uncommitted(run: Run, root: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"step e\.make stopped at e/2: OSError: \[Errno 28\] No space left"):
        run(4, {2: "disk"})
    assert files_of(root, ".bin", ".parquet", ".json", ".tmp") == {}
    assert not [path for path in root.rglob("*") if path.is_file()]


def test_a_disk_that_is_full_ends_the_fragment_uncommitted(run: Run, root: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # Python ignores the signal that comes with the error
    try:
        with pytest.raises(InfrastructureError, match=r"00000000-00000020.* cannot be written"):
            run(20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [path for path in root.rglob("*") if path.is_file()]
    assert len(run(20)) == 3


def test_only_what_the_machine_raises_as_a_file_is_written_is_its_error(
    cards: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def run_with(error: Exception, root: str) -> None:
        def fail(*arguments: object, **options: object) -> None:
            attempts.append(error)
            raise error

        segments = segments_of(cards.CardEntry(name="e", count=4), 0, "")
        with monkeypatch.context() as patch:
            if "://" in root:
                patch.setattr(fsspec.filesystem("memory"), "pipe_file", fail)
            else:
                patch.setattr(fragment_writer.RowWriter, "add", fail)
            store = StoreConfig(attempts=1)
            run_all(segments, list(number_fragments(0, 4)), root, str(tmp_path), store)

    with pytest.raises(AttributeError, match="no such name"):
        run_with(AttributeError("no such name"), str(tmp_path / "root"))
    assert len(attempts) == 1, "a mistake of ours is not tried again"
    with pytest.raises(StoreError, match=r"cannot be written: OSError: \[Errno 5\] read it"):
        run_with(OSError(5, "read it"), str(tmp_path / "root"))
    with pytest.raises(StoreError, match="RuntimeError: a class of its own"):
        run_with(RuntimeError("a class of its own"), "memory://refusing")
    assert len(attempts) == 1 + 3 + 3


def test_a_step_that_cannot_be_loaded_is_the_machines_error_or_the_users(
    cards: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(error: Exception) -> Callable[..., None]:
        def setup(self: object) -> None:
            raise error

        return setup

    monkeypatch.setattr(cards.MakeCards, "setup", fail(ValueError("no weights")))
    with pytest.raises(InfrastructureError, match=r"e\.make cannot be loaded: ValueError: no weights"):
        run(1)
    monkeypatch.setattr(cards.MakeCards, "setup", fail(UserError("no such icon")))
    with pytest.raises(UserError, match=r"^no such icon$"):
        run(1)


def test_a_step_with_a_time_limit_fails_only_the_record_that_hangs_or_crashes(
    cards: Any, use_domain: Callable[[Any], None], run: Run, root: Path
) -> None:
    use_domain(cards.LIMITED)
    results = run(6, {1: "hang", 3: "crash"})
    assert results[0][0].accounts == (
        LedgerStep(name="e.make", read=6, kept=4, emitted=8, failed={"TimeLimitExceeded": 1, "WorkerDied": 1}),
    )
    failures = {row["source"]: row["reason"] for row in rows_of(root, "dead.parquet")}
    assert failures == {"e/1": "took longer than 1 s", "e/3": "the process of the step ended (killed by SIGSEGV)"}
    limited = {row["key"]: row for row in rows_of(root) if "value" in row}
    assert results[0][0].cpu_seconds > 0
    use_domain(cards.DOMAIN)
    run(6, {1: "drop", 3: "drop"})
    assert len(samples_of(root)) == 2 * 2 * 8
    assert len(limited) == 8


def test_files_are_read_by_their_steps_and_hashed(cards: Any, root: Path, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text(str(number))
    entry = cards.CardEntry(name="e", files=("*.txt",))
    files = list(list_pattern("*.txt", "CC0-1.0", entry="e", base=str(tmp_path), store=DEFAULT_STORE))
    plan = plan_fragments(files, [], "e")
    results = run_all(segments_of(entry, 0, ""), plan, str(root), str(tmp_path))
    assert {row["key"].split("/")[0] for row in rows_of(root) if "value" in row} == {f"{i}.txt" for i in range(5)}
    expected = sum(file_hash(file, tmp_path / file.key) for file in files) % 2**128
    assert sum(int(result.content, 16) for result in results[0]) % 2**128 == expected
    assert results[0][0].read_bytes == 5
    assert results[1][0].content == ""


def test_a_file_that_changed_after_it_was_listed_ends_the_fragment(cards: Any, root: Path, tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("1")
    entry = cards.CardEntry(name="e", files=("*.txt",))
    files = list(list_pattern("*.txt", "CC0-1.0", entry="e", base=str(tmp_path), store=DEFAULT_STORE))
    (tmp_path / "1.txt").write_text("12")
    os.utime(tmp_path / "1.txt", (1, 1))
    with pytest.raises(InfrastructureError, match=r"1\.txt"):
        run_all(segments_of(entry, 0, ""), plan_fragments(files, [], "e"), str(root), str(tmp_path))


@pytest.fixture
def s3(s3_server: Callable[..., Any]) -> Iterator[StoreConfig]:
    with s3_server("cards-bucket") as options:
        yield StoreConfig(options=options, attempts=3, backoff=0.01)
        use_store(DEFAULT_STORE)


def test_a_root_and_inputs_in_a_store_give_the_same_bytes(cards: Any, s3: StoreConfig, tmp_path: Path) -> None:
    bucket = fsspec.filesystem("s3", **s3.options)
    for number in range(5):
        bucket.pipe_file(f"cards-bucket/in/{number}.txt", str(number).encode())
        (tmp_path / f"{number}.txt").write_text(str(number))
    names, written = [], []
    for pattern, root, store in (
        ("s3://cards-bucket/in/*.txt", "s3://cards-bucket/root", s3),
        (f"{tmp_path}/*.txt", f"{tmp_path}/root", DEFAULT_STORE),
    ):
        entry = cards.CardEntry(name="e", files=("*.txt",))
        files = list(list_pattern(pattern, "CC0-1.0", entry="e", base="/", store=store))
        # As if the patterns had spelled the files alike.
        files = [file.model_copy(update={"key": file.key.rpartition("/")[2]}) for file in files]
        (fragment,) = plan_fragments(files, [], "e")
        fragment = fragment.model_copy(update={"id": "same"})
        run_all(segments_of(entry, 0, ""), [fragment], root, "/", store)
        fs, folder = fsspec.url_to_fs(root, **store.options)
        paths = [path for path in sorted(fs.find(folder)) if not path.endswith(".json")]
        names.append([path.removeprefix(folder) for path in paths])
        written.append([fs.cat_file(path) for path in paths])
    assert names[0] == names[1]
    assert len(names[0]) == 5
    assert written[0] == written[1]


KILLED = """
import os, sys
sys.path.insert(0, {here!r})
import segment_targets
from step3vl.data.storage import Store
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.fragments import number_fragments
from step3vl.pipelines.core.runner import SegmentRunner
from step3vl.pipelines.core.segment import segments_of
from step3vl.pipelines.domains import DOMAINS
DOMAINS["cards"] = segment_targets.DOMAIN
put, replace = Store.put, os.replace
def kill(*_): os.kill(os.getpid(), 9)
if {moment!r} == "before the commit record":
    Store.put = kill
else:
    segment_targets.MakeCards.process = lambda self, record, rng: kill() if record.value == 3 else iter(())
segment = segments_of(segment_targets.CardEntry(name="e", count=5), 0, "")[0]
SegmentRunner(segment, {root!r}, "/").run(next(number_fragments(0, 5)))
"""


@pytest.mark.parametrize("moment", ["before the commit record", "in a record"])
def test_a_run_that_is_killed_is_not_committed_and_the_next_one_is_whole(
    run: Run, root: Path, tmp_path: Path, moment: str
) -> None:
    script = KILLED.format(here=str(HERE), moment=moment, root=str(root))
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not list(root.rglob("*.json"))
    first = run(5)
    assert first[0][0].accounts[0].kept == 5
    expected = files_of(root)
    for path in sorted(root.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    run(5)
    assert files_of(root) == {name: data for name, data in expected.items() if not name.endswith(".tmp")}


def test_the_parquet_files_are_readable_by_others(run: Run, root: Path) -> None:
    run(4)
    (path,) = root.glob("e/read-*/*.parquet")
    schema = pq.read_schema(path)
    assert schema.names == ["key", "value"]
    assert pa.types.is_struct(schema.field("value").type)
