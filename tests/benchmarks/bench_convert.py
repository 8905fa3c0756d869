"""`corpus convert` of text chats and of images, beside a plain loop that writes the same records into a tar.

Ours validates each record, accounts for its fields, decodes images, counts tokens, hashes, sorts, removes duplicates
and writes shards with their indexes, all in one process; the loading of the tokenizer, half a second, is counted. The
loop parses a line and gives it to `webdataset.ShardWriter`, and checks nothing.

As a program it converts other numbers of text chats, for the start counts less among many: `bench_convert.py 200000`.
"""

import io
import json
import random
import shutil
import sys
import time
from functools import partial
from pathlib import Path

import webdataset
from fixtures import folder, photograph
from measure import Row, race

from step3vl.data.convert import DatasetConfig, RecordDefaults, read_records, to_dataset

CHATS = 20_000
PHOTOS = 1000
WORDS = Path(__file__).parents[2] / "docs" / "how-to" / "convert-data.md"


def chats(path: Path, count: int = CHATS) -> float:
    """Write chats of one to three turns. Returns their megabytes."""
    rng = random.Random(0)
    words = WORDS.read_text(encoding="utf-8").replace("<", "").split()

    def say(least: int, most: int) -> str:
        length = rng.randint(least, most)
        start = rng.randrange(len(words) - length)
        return " ".join(words[start : start + length])

    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            turns = []
            for _ in range(rng.choice((1, 1, 2, 3))):
                turns += [{"from": "human", "value": say(5, 40)}, {"from": "gpt", "value": say(20, 120)}]
            turns[0]["value"] = f"{number}. {turns[0]['value']}"
            file.write(json.dumps({"id": str(number), "conversations": turns}) + "\n")
    return path.stat().st_size / 1e6


def photos(root: Path) -> float:
    """Write questions about JPEGs of 480 x 320. Returns the megabytes of the images."""
    size = 0
    with (root / "photos.jsonl").open("w", encoding="utf-8") as file:
        for number in range(PHOTOS):
            buffer = io.BytesIO()
            photograph(480, 320, number).save(buffer, "JPEG", quality=90)
            (root / f"{number}.jpg").write_bytes(buffer.getvalue())
            size += len(buffer.getvalue())
            turns = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": f"Noise {number}."}]
            file.write(json.dumps({"image": f"{number}.jpg", "conversations": turns}) + "\n")
    return size / 1e6


def ours(source: Path, format_name: str, out: Path) -> int:
    shutil.rmtree(out, ignore_errors=True)
    result = to_dataset(read_records(source, format_name, RecordDefaults()), out, DatasetConfig(name="bench"), {})
    return result.steps[-1].kept


def plain_loop(source: Path, out: Path) -> int:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    count = 0
    with source.open(encoding="utf-8") as lines, webdataset.ShardWriter(f"{out}/%05d.tar", verbose=0) as writer:
        for line in lines:
            record = json.loads(line)
            sample = {"__key__": f"{count:08d}", "json": record}
            if "image" in record:
                sample["jpg"] = (source.parent / record["image"]).read_bytes()
            writer.write(sample)
            count += 1
    return count


def compared(what: str, source: Path, format_name: str, size: float, rounds: int) -> Row:
    contenders = {
        "ours": partial(ours, source, format_name, source.with_name("ours")),
        "loop": partial(plain_loop, source, source.with_name("loop")),
    }
    seconds = race(contenders, rounds)
    count = CHATS if format_name == "sharegpt" else PHOTOS
    return Row(
        what,
        count / seconds["ours"],
        count / seconds["loop"],
        "records/cpu-s",
        f"{size / seconds['ours']:.1f} MB/cpu-s; peer: json.loads and webdataset.ShardWriter, which check nothing",
    )


def rows(rounds: int) -> list[Row]:
    with folder() as root:
        size = chats(root / "chats.jsonl")
        text = compared("text chats to a dataset", root / "chats.jsonl", "sharegpt", size, rounds)
        size = photos(root)
        return [text, compared("questions about JPEGs", root / "photos.jsonl", "llava", size, rounds)]


def main(numbers: list[int]) -> None:
    for number in numbers:
        with folder() as root:
            chats(root / "chats.jsonl", number)
            start = time.process_time()
            kept = ours(root / "chats.jsonl", "sharegpt", root / "ours")
            print(f"{number:,} text chats: {kept / (time.process_time() - start):,.0f} records/cpu-s")


if __name__ == "__main__":
    main([int(number) for number in sys.argv[1:]])
