"""`step3vl eval` from end to end, in the test's process."""

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from step3vl.evaluation import benchmarks
from step3vl.workflows.cli import app

TOY = Path(__file__).parents[1] / "evaluation" / "toy"
SUMS = [{"id": f"{group}-{n}", "sum": f"{n} + 1", "answer": n + 1} for group in "abc" for n in (0, 1)]
SETTINGS = ["--bench", "toy-sums"]


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks, "__path__", [str(TOY)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "toy-sums"
    folder.mkdir(parents=True)
    (folder / "sums.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in SUMS))
    return tmp_path / "data"


def step3vl(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["eval", *map(str, arguments)])


def responses(path: Path, replies: list[str]) -> Path:
    lines = (json.dumps({"id": record["id"], "response": reply}) for record, reply in zip(SUMS, replies, strict=True))
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_list_says_which_files_are_missing(data: Path) -> None:
    listed = json.loads(step3vl("list", "--data", data, "--json").output)
    toy_sums = next(each for each in listed if each["name"] == "toy-sums")
    assert (toy_sums["items"], toy_sums["present"]) == (6, "there, without images")
    assert toy_sums["files"][0] == {
        "name": "sums.jsonl",
        "source": "the tests",
        "size": "1 kB",
        "optional": False,
        "missing": False,
    }
    overview = step3vl("list", "--data", data).output
    assert "toy-sums" in overview and "there, without images" in overview
    (essays_line,) = [line for line in overview.splitlines() if "toy-essays" in line]
    assert essays_line.split()[1:4] == ["3", "1", "gpt-4o-2024-08-06"], "items, repeats, and who grades"
    named = step3vl("list", "toy-sums").output
    assert "metric: sums with all variants right; graded by a rule" in named and "licence: Apache-2.0" in named
    essays = next(each for each in listed if each["name"] == "toy-essays")
    assert essays["judge"] == "gpt-4o-2024-08-06"


def test_score_prints_the_number_beside_the_reports(data: Path, tmp_path: Path) -> None:
    outputs = responses(tmp_path / "mine.jsonl", ["1", "2", "1", "3", "no", "2"])
    done = step3vl("score", outputs, *SETTINGS, "--data", data, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "33.33 ±" in done.output
    assert "68.16" in done.output, "MMVP in the report"
    assert "not as in the report: recorded outputs: settings unknown" in done.output
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (run["name"], run["rule"]) == ("mine", "strict")
    assert len((tmp_path / "run" / "items.jsonl").read_text().splitlines()) == 6


def test_runs_are_compared_on_a_page(data: Path, tmp_path: Path) -> None:
    for name, replies in (("one", ["1", "2", "1", "3", "0", "2"]), ("two", ["1", "2", "1", "2", "no", "2"])):
        outputs = responses(tmp_path / f"{name}.jsonl", replies)
        assert step3vl("score", outputs, *SETTINGS, "--data", data, "--out", tmp_path / name).exit_code == 0
    page = tmp_path / "pages" / "page.html"
    done = step3vl("compare", tmp_path / "one", tmp_path / "two", "--out", page)
    assert done.exit_code == 0, done.output
    assert "33.33 ±" in done.output and "66.67 ±" in done.output
    assert "Differences to one" in page.read_text()


def test_a_held_out_split_is_run_as_any_benchmark(corpus: Path, model: Path, tmp_path: Path) -> None:
    bench = ("--bench", f"corpus:{corpus}#counting")
    limits = ("--limit", 3, "--max-new-tokens", 4)
    for name, pacore in (("mine", "off"), ("mine-pacore", "2")):
        options = (*limits, "--name", "mine", "--pacore", pacore, "--out", tmp_path / name, "--price", "0,1000000")
        command = () if name == "mine" else ("run",)  # `run` may be left out
        done = step3vl(*command, model, *bench, *options)
        assert done.exit_code == 0, done.output
    assert f"{corpus.name}#counting" in done.output and "3 of 4 items" in done.output
    assert "not as in the report" not in done.output, "the report has no such benchmark"
    run = json.loads((tmp_path / "mine" / "corpus-demo-counting" / "run.json").read_text())
    assert (run["name"], run["benchmark"]) == ("mine", f"corpus:{corpus}#counting")
    assert run["usage"]["price"] == run["usage"]["completion_tokens"] > 0 < run["usage"]["prompt_tokens"]
    page = tmp_path / "page.html"
    done = step3vl("compare", tmp_path / "mine", tmp_path / "mine-pacore", "--out", page)
    assert done.exit_code == 0, done.output
    assert "Sequential reasoning against PaCoRe" in page.read_text()
    done = step3vl("run", model, "--bench", "toy-sums", "--out", tmp_path / "toy")
    assert "toy-sums: give --data DIR" in str(done.exception)


def test_a_judged_benchmark_asks_for_a_judge(tmp_path: Path) -> None:
    path = tmp_path / "essays.jsonl"
    path.write_text('{"id": "sea", "response": "It is blue and deep."}\n')
    done = step3vl("score", path, "--bench", "toy-essays")
    assert "1 responses need a judge, for the authors gpt-4o-2024-08-06; give --judge URL" in str(done.exception)


def test_fields_that_are_not_of_the_layout_are_named(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"id": "a-0", "response": "1", "prompt": "0 + 1", "model": "m"}\n')
    done = step3vl("score", path, *SETTINGS, "--data", data)
    assert str(done.exception).endswith("as lines of {id, response}, leave out model, prompt")


def test_no_number_of_a_table_is_cut_off(data: Path, tmp_path: Path) -> None:
    outputs = responses(tmp_path / "mine.jsonl", ["1", "2", "1", "3", "no", "2"])
    arguments = ["eval", "score", str(outputs), *SETTINGS, "--data", str(data)]
    narrow = CliRunner(env={"COLUMNS": "40"}).invoke(app, arguments).output
    assert "unpars. trunc. failed" in narrow and "…" not in narrow


def test_mistakes_are_one_line(data: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("score", tmp_path / "x.jsonl", "--bench", "toy-sum"), "did you mean: toy-sums"),
        (("score", tmp_path / "x.jsonl", *SETTINGS, "--data", data), "x.jsonl: no such file"),
        (("run", tmp_path / "model", *SETTINGS, "--data", tmp_path / "nothing"), "sums.jsonl: no such file; download"),
        (("compare", tmp_path), "no finished run"),
        (("records", tmp_path / "nothing"), "no such folder"),
        (("run", tmp_path, *SETTINGS, "--data", data, "--price", "free"), "--price: 'free' is not two numbers"),
    ):
        done = step3vl(*arguments)
        assert done.exit_code != 0
        assert message in str(done.exception), done.output
        assert "\n" not in str(done.exception)


def test_records_are_printed_beside_the_published_numbers(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "records" / "TOY"
    folder.mkdir(parents=True)
    (folder / "sums.jsonl").write_bytes((data / "toy-sums" / "sums.jsonl").read_bytes())

    def record(replies: list[str]) -> Result:
        rows = [{"question_id": row["id"], "prediction": text} for row, text in zip(SUMS, replies, strict=True)]
        (folder / "model.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
        return step3vl("records", folder.parent, "--bench", "toy-sums")

    equal = record(["1", "2", "1", "9", "none", "2"])
    assert equal.exit_code == 0, equal.output
    assert "toy-sums: TOY/model.json.gz, 6 responses" in equal.output
    assert [line.split()[-1] for line in equal.output.splitlines() if line.startswith("    ")] == ["equal", "equal"]
    assert "other.json (1)" in equal.output and "3 published numbers: 2 reproduced" in equal.output
    differing = record(["1", "2", "1", "2", "none", "2"])
    assert differing.exit_code == 1
    assert "+1" in differing.output and "2 not without one" in differing.output
