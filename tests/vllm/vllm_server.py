"""A real vLLM in its own environment and processes, and models for it to serve."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import torch

from step3vl.data.sample import ImageSpec
from step3vl.data.tokens import TokenIds, load_tokenizer, train_bpe
from step3vl.model import Step3VLForConditionalGeneration, Step3VLProcessor, save_checkpoint, tiny_config

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
DEMO = ROOT / "runs" / "tiny" / "synthesis" / "export"
NAME = "step3vl"
START_TIMEOUT = 300  # seconds
ROLLOUTS = 16  # that it decodes side by side
CONTEXT = 4096


@contextmanager
def serve(model: Path, log: Path, *, plugin: bool) -> Iterator[str]:
    """The URL of a server of `model`, with or without our plugin; all its processes are ended afterwards."""
    if not PYTHON.exists():
        raise FileNotFoundError(f"{PYTHON} is missing: run `make vllm-env`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        "nice", str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model),
        "--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(port), "--trust-remote-code",
        "--dtype", "float32", "--enforce-eager", "--max-model-len", str(CONTEXT), "--max-num-seqs", str(ROLLOUTS),
        "--max-num-batched-tokens", str(CONTEXT), "--limit-mm-per-prompt", '{"image": 3}',
        "--reasoning-parser", "deepseek_r1",
        # A seeded request whose prompt is read in pieces ends vLLM on the CPU: "CPU Generator does not use offset".
        "--no-enable-chunked-prefill",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # one thread, on whichever core is free
        "OMP_NUM_THREADS": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_PLUGINS": "step3vl" if plugin else "",
        "VLLM_CACHE_ROOT": str(log.parent / "cache"),
    }
    with log.open("w") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=log.parent, start_new_session=True
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(server, url, log)
            yield url
        finally:
            _end(server)


def _wait(server: subprocess.Popen, url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(1)
    raise RuntimeError(f"vLLM did not come up:\n{log.read_text()[-4000:]}")


def _end(server: subprocess.Popen) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return


def write_released(folder: Path, **sizes: int) -> Path:
    """Random weights in the released layout: both real grids, the Qwen3 vocabulary, every width small.

    `sizes` are those of `tiny_config`. A head of 32 channels is the smallest that vLLM's attention for the CPU has.
    """
    return _write(folder, load_tokenizer("qwen3"), ImageSpec(), **{"vision_width": 64, "vision_layers": 2, **sizes})


def write_tiny(folder: Path) -> Path:
    """Random weights in the layout of the demo's models, for a checkout in which the demo has not run."""
    texts = ["What do you see? How many images are there?", "There are two of them, one red and one blue."]
    return _write(
        folder, train_bpe(texts * 3, 400), ImageSpec(image_size=64, crop_size=48, patch_size=8, max_side=256)
    )


def _write(folder: Path, tokenizer, spec: ImageSpec, **sizes: int) -> Path:
    torch.manual_seed(0)
    config = tiny_config(
        tokenizer.get_vocab_size(),
        spec,
        image_token_id=TokenIds.of(tokenizer).image_patch,
        max_position_embeddings=CONTEXT,
        **sizes,
    )
    config.text_config.initializer_range = 0.15  # strong enough that every image changes the answer
    model = Step3VLForConditionalGeneration(config).eval()
    save_checkpoint(model, Step3VLProcessor.build(tokenizer, spec), folder)
    return folder
