"""`step3vl corpus view` as users start and stop it."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATASET = ROOT / "data" / "samples" / "labelled"

pytestmark = pytest.mark.slow


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "step3vl.workflows.cli", "corpus", "view", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"},
    )


def test_the_command_serves_pages_until_it_is_interrupted():
    with start(DATASET, "--compare", DATASET, "--port", 0) as process:
        assert process.stderr is not None
        address = re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())
        assert address is not None
        with urllib.request.urlopen(f"{address[0]}/?task=ocr.image_to_text", timeout=60) as response:
            assert b"/sample/" in response.read()
        process.send_signal(signal.SIGINT)
        assert "stopped" in process.stderr.read()
    assert process.returncode == 130


def test_a_missing_dataset_is_a_mistake_of_the_user(tmp_path):
    with start(tmp_path) as process:
        assert process.stderr is not None
        assert "no dataset at" in process.stderr.read()
    assert process.returncode == 2
