"""From a folder of weights to the first token: time beside that of reading the same files, and the memory it takes.

Makes a checkpoint of random weights in the released layout, drops it from the page cache, and times one process for
each row. Not part of `make bench`, which is short: this writes two gigabytes.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))

import torch
from fixtures import small_tokenizer
from transformers import Qwen3Config

from step3vl.data.sample import ImageSpec
from step3vl.data.tokens import TokenIds
from step3vl.model import (
    Step3VLConfig,
    Step3VLForConditionalGeneration,
    Step3VLProcessor,
    Step3VLVisionConfig,
    load_model,
    save_checkpoint,
)

VOCABULARY, HIDDEN, MLP = 32_000, 2048, 6144
LAYER = HIDDEN * (2 * HIDDEN + 2 * HIDDEN // 2 + 3 * MLP)  # parameters of one layer of the decoder


def write(folder: Path, megabytes: int) -> None:
    """A checkpoint of about this size, in shards, bfloat16; a third of the released widths, as many layers as fit."""
    tokenizer = small_tokenizer()
    layers = max(1, (megabytes * 500_000 - 2 * VOCABULARY * HIDDEN) // LAYER)
    text = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=MLP, num_hidden_layers=layers, head_dim=128,
        num_attention_heads=HIDDEN // 128, num_key_value_heads=HIDDEN // 256, max_position_embeddings=4096,
    )  # fmt: skip
    vision = Step3VLVisionConfig(width=192, heads=4, layers=4)
    config = Step3VLConfig(vision_config=vision, text_config=text, image_token_id=TokenIds.of(tokenizer).image_patch)
    with torch.device("meta"):
        model = Step3VLForConditionalGeneration(config)
    model = model.to_empty(device="cpu").bfloat16()
    for parameter in model.parameters():
        parameter.data.uniform_(-0.02, 0.02)
    save_checkpoint(model, Step3VLProcessor.build(tokenizer, ImageSpec()), folder, max_shard_size="500MB")


def forget(folder: Path) -> None:
    """Drop the files from the page cache, so that they come from the disk again."""
    os.sync()
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read(folder: Path) -> None:
    buffer = bytearray(2**24)
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb", buffering=0) as opened:
            while opened.readinto(buffer):
                pass


def answer(folder: Path, dtype: torch.dtype | None) -> None:
    model, processor = load_model(folder, dtype=dtype)
    inputs = processor(text="What is the grey of region 1?", return_tensors="pt")
    with torch.inference_mode():
        model.generate(**inputs, max_new_tokens=1, min_new_tokens=1, do_sample=False)


def peak_memory() -> float:
    """Mebibytes that this process had resident at most. `getrusage` would tell of the process that started it, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def measured(what: str, folder: Path) -> tuple[float, float]:
    """Seconds, and mebibytes of memory beyond those of the imports, of one run in this process."""
    before = peak_memory()
    start = time.perf_counter()
    if what == "read":
        read(folder)
    else:
        answer(folder, torch.float32 if what == "float32" else None)
    return time.perf_counter() - start, peak_memory() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=2000, help="size of the checkpoint (2000)")
    parser.add_argument("--folder", type=Path, help="a disk to measure; by default that of temporary files")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(*measured(arguments.child[0], Path(arguments.child[1])))
        return
    with TemporaryDirectory(dir=arguments.folder) as made:
        folder = Path(made)
        write(folder, arguments.megabytes)
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 2**20
        print(f"{size:.0f} MiB of bfloat16 in {len(list(folder.glob('*.safetensors')))} files, {os.cpu_count()} cores")
        print(f"{'':44}{'seconds':>9}{'MiB/s':>9}{'memory / weights':>18}")
        for what, title, weights in (
            ("read", "read the files, nothing else", size),
            ("stored", "to the first token, as stored", size),
            ("float32", "to the first token, converted to float32", 2 * size),
        ):
            for cold in (True, False):
                if cold:
                    forget(folder)
                command = [sys.executable, __file__, "--child", what, str(folder)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                seconds, memory = map(float, done.stdout.split()[-2:])
                share = "" if what == "read" else f"{memory / weights:.2f}"
                print(f"{title + (', cold' if cold else ', cached'):44}{seconds:9.2f}{size / seconds:9.0f}{share:>18}")


if __name__ == "__main__":
    main()
