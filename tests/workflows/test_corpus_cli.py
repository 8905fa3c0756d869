"""The corpus commands as users type them, from LLaVA's JSON to a verified dataset and back."""

import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import run_command as run
from PIL import Image

from step3vl.data.dataset import Dataset

pytestmark = pytest.mark.slow


def image(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (30 + number, 20), (9 * number, 90, 40)).save(buffer, "PNG")
    return buffer.getvalue()


def records(first: int, last: int) -> list[dict]:
    questions = [f"<image>\nWhat is number {number}?" for number in range(first, last)]
    return [
        {
            "id": str(number),
            "image": f"{number % 7}.png",
            "conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": f"It is {number}."}],
        }
        for number, question in enumerate(questions, first)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two LLaVA files with images, and a dataset of each: `one` has a record that is broken."""
    home = tmp_path_factory.mktemp("llava")
    for number in range(7):
        (home / f"{number}.png").write_bytes(image(number))
    broken = {**records(0, 1)[0], "image": "99.png"}
    (home / "one.json").write_text(json.dumps([*records(0, 20), broken]))
    (home / "two.json").write_text(json.dumps(records(15, 30)))
    for name in ("one", "two"):
        done = run(
            *("corpus", "convert", home / f"{name}.json", home / name, "--from", "llava", "--licence", "CC0-1.0"),
            *("--task", "vqa.numbers", "--domain", "vqa", "--shards", 2, "--heldout", 0.3),
        )
        assert "written" in done.stdout
        if name == "one":
            assert "one.json#21: 99.png: no such image" in done.stderr
    return home


def test_a_contact_sheet_of_each_task(folder: Path, tmp_path: Path) -> None:
    done = run("corpus", "inspect", folder / "one", "--sheets", tmp_path / "sheets", "--samples", 4)
    assert done.stdout.split() == [f"{tmp_path}/sheets/vqa.numbers.png"]
    with Image.open(tmp_path / "sheets" / "vqa.numbers.png") as sheet:
        assert sheet.width > 1000


def test_labels_that_no_domain_built_are_not_checked_and_the_card_says_so(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "two", tmp_path / "two")
    done = run("corpus", "verify-labels", tmp_path / "two", "--samples", 5)
    assert "no_entry 5" in done.stdout
    report = json.loads((tmp_path / "two" / "label_checks.json").read_text())
    assert report["tasks"]["vqa.numbers"]["unchecked"] == {"no_entry": 5}
    assert "no_entry 5" in (tmp_path / "two" / "card.md").read_text()


def test_inspect_shows_tables_and_writes_a_card(folder: Path, tmp_path: Path) -> None:
    done = run("corpus", "inspect", folder / "one", "--card", tmp_path / "card")
    for word in ("vqa.numbers", "CC0-1.0", "ValueError 1", "Tokens in a sample", "█", "32 to 63"):
        assert word in done.stdout
    assert {path.name for path in (tmp_path / "card").iterdir()} == {"card.md", "card.html", "contact_sheet.png"}


def test_verify_finds_nothing_and_then_a_flipped_byte(folder: Path, tmp_path: Path) -> None:
    assert "every byte is what was committed" in run("corpus", "verify", folder / "one").stdout
    shutil.copytree(folder / "one", tmp_path / "bad")
    shard = next((tmp_path / "bad" / "shards").glob("*.tar"))
    data = bytearray(shard.read_bytes())
    data[3000] ^= 1
    shard.write_bytes(data)
    done = run("corpus", "verify", tmp_path / "bad", "--no-images", code=1)
    assert "checksum" in done.stdout and shard.name in done.stdout


def test_merge_split_and_diff_agree(folder: Path, tmp_path: Path) -> None:
    done = run("corpus", "merge", folder / "one", folder / "two", tmp_path / "both", "--shards", 1)
    assert "merge" in done.stdout and "written" in done.stdout
    assert "30 samples" in run("corpus", "verify", tmp_path / "both").stdout
    done = run("corpus", "diff", folder / "one", tmp_path / "both", code=1)
    row = next(line for line in done.stdout.splitlines() if "vqa.numbers" in line)
    assert [word for word in row.replace("│", " ").split() if word.isdigit()] == ["20", "10", "0", "0", "0", "0"]
    assert "no difference" in run("corpus", "diff", folder / "one", folder / "one").stdout
    run("corpus", "split", tmp_path / "both", tmp_path / "parted", "--heldout", 0.5)
    done = run("corpus", "diff", tmp_path / "both", tmp_path / "parted", code=1)
    row = next(line for line in done.stdout.splitlines() if "vqa.numbers" in line)
    kept, *changes, _, to_train = [int(word) for word in row.replace("│", " ").split() if word.isdigit()]
    assert (kept, changes, to_train) == (30, [0, 0, 0], 0), "they may have moved to the held-out split, and no more"
    assert "config" in done.stdout


@pytest.mark.parametrize("form", ["llava", "huggingface"])
def test_a_dataset_survives_a_round_trip_through_a_format(folder: Path, tmp_path: Path, form: str) -> None:
    run("corpus", "convert", folder / "one", tmp_path / form, "--from", "dataset", "--to", form)
    done = run(
        "corpus", "convert", tmp_path / form, tmp_path / "back", "--from", form, "--shards", 2, "--heldout", 0.3
    )
    assert "failed" not in done.stderr
    tables = run("corpus", "diff", folder / "one", tmp_path / "back", code=1).stdout
    row = next(line for line in tables.splitlines() if "vqa.numbers" in line)
    assert [word for word in row.replace("│", " ").split() if word.isdigit()] == ["20", "0", "0", "0", "0", "0"]


def test_doctor_runs_the_dataset_through_the_trainers_loader(folder: Path) -> None:
    index = Dataset.open(folder / "one").index(["text_tokens", "image_tokens"], split="train")
    longest = max(sum(row[name] for name in ("text_tokens", "image_tokens")) for row in index.to_pylist())
    done = run("corpus", "doctor", folder / "one", "--length", longest - 1, code=1)
    assert "vqa.numbers" in done.stdout and "a run would not train on everything" in done.stdout


def test_data_commands_run_with_the_base_install(folder: Path, tmp_path: Path) -> None:
    """Neither Beam nor torch nor any other package of the extras can be imported."""
    extras = [
        "apache_beam",
        "torch",
        "transformers",
        "ray",
        "matplotlib",
        "jinja2",
        "math_verify",
        "step3vl.pipelines",
    ]
    commands = [
        ("convert", folder / "one.json", tmp_path / "one", "--from", "llava"),
        ("convert", tmp_path / "one", tmp_path / "rows", "--from", "dataset", "--to", "huggingface"),
        ("merge", tmp_path / "one", folder / "two", tmp_path / "both"),
        ("split", tmp_path / "both", tmp_path / "parted", "--heldout", "0.5"),
        ("inspect", tmp_path / "parted", "--card", tmp_path / "card"),
        ("verify", tmp_path / "parted"),
        ("diff", tmp_path / "both", tmp_path / "both"),
        ("schema",),
    ]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({extras!r}))
from step3vl.workflows.cli import main
for command in {[("corpus", *map(str, command)) for command in commands]!r}:
    sys.argv[1:] = command
    try:
        main()
    except SystemExit as end:
        assert not end.code, (command, end.code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name", ["convert", "inspect", "verify", "verify-labels", "doctor", "diff", "merge", "split", "schema"]
)
def test_every_command_has_help(name: str) -> None:
    assert f"Usage: step3vl corpus {name}" in run("corpus", name, "--help").stdout


def test_a_dataset_is_counted_again_and_keeps_its_split(folder: Path, tmp_path: Path) -> None:
    run("corpus", "convert", folder / "one", tmp_path / "again", "--from", "dataset", "--heldout", 0.3, "--shards", 1)
    original, again = Dataset.open(folder / "one"), Dataset.open(tmp_path / "again")
    for split in ("train", "heldout"):
        ids = [sorted(dataset.index(["id"], split=split)["id"].to_pylist()) for dataset in (original, again)]
        assert ids[0] == ids[1]
    assert again.manifest.tasks == original.manifest.tasks


def test_schema_is_json_and_nothing_else() -> None:
    assert json.loads(run("corpus", "schema").stdout)["$id"] == "step3vl-sample-2"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("convert", "absent.json", "out", "--from", "llava"), "absent.json: no such file"),
        (("convert", "one.json", "out", "--from", "webdataset"), "no record could be converted"),
        (("convert", "one.json", "out", "--from", "llava", "--domain", "No!"), "domain: String should match"),
        (("convert", "one.json", "out", "--from", "llava", "--split", "train"), "--split chooses from a dataset"),
        (
            ("convert", "two.json", "one", "--from", "llava"),
            "one already holds a result; give another folder, or --force",
        ),
        (("convert", "one", "two", "--from", "dataset", "--to", "llava"), "two already holds a result"),
        (("convert", "one", "pairs", "--from", "dataset", "--to", "webdataset"), "a pair is a document"),
        (("convert", "one.json", "out", "--from", "llava", "--tokenizer", "absent"), "no tokenizer at absent"),
        (("convert", "one", "out", "--from", "dataset"), "give --heldout"),
        (("inspect", "absent"), "no dataset at absent"),
        (("verify", "absent"), "no dataset at absent"),
        (("diff", "one", "absent"), "no dataset at absent"),
        (("merge", "one", "out"), "merge needs two datasets"),
        (("split", "one", "two", "--heldout", "0.1"), "two already holds a result"),
        (("merge", "one", "two", "one", "--force"), "one is read by this command"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    done = run("corpus", *arguments, code=2, cwd=folder)
    *_, line = done.stderr.strip().splitlines()
    assert line.startswith("error: ") and words in line
    assert not (folder / "out" / "dataset.json").exists() and not (folder / "pairs").exists()


def test_a_killed_conversion_leaves_no_dataset_and_runs_again(folder: Path, tmp_path: Path) -> None:
    lines = [{**record, "image": str(folder / record["image"])} for record in records(0, 4000)]
    (tmp_path / "many.json").write_text(json.dumps(lines))
    command = ["corpus", "convert", "many.json", "out", "--from", "llava", "--images", str(folder)]
    process = subprocess.Popen(
        [sys.executable, "-m", "step3vl.workflows.cli", *command],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    while not list(tmp_path.glob("step3vl-*")):
        assert process.poll() is None, "the conversion ended before it could be stopped"
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (tmp_path / "out" / "dataset.json").exists()
    run(*command, "--shards", 1, cwd=tmp_path)
    assert "4,000 samples" in run("corpus", "verify", tmp_path / "out", "--no-images").stdout


def test_force_keeps_an_earlier_dataset(folder: Path, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        force = ["--force"] if number > 1 else []
        done = run("corpus", "split", folder / "one", tmp_path / "out", "--heldout", number / 10, *force)
        assert (f"the earlier result is kept as {tmp_path}/out.{number - 1}" in done.stderr) == bool(force)
    shares = [Dataset.open(tmp_path / name).manifest.config["split"]["heldout"] for name in ("out.1", "out.2", "out")]
    assert shares == [0.1, 0.2, 0.3]
