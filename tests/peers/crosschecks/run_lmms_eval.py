"""Run lmms-eval's own command with our model on a task of a few questions, in OCRBench's format: for the tests.

Arguments: a folder with `questions.parquet`, and what follows is handed to `lmms_eval`.
"""

import importlib.util
import os
import re
import runpy
import sys
from pathlib import Path

TASK = "ocrbench_local"


def write_task(folder: Path) -> None:
    """Copy lmms-eval's task of OCRBench, with a local file in place of the hub's."""
    spec = importlib.util.find_spec("lmms_eval")
    assert spec is not None and spec.submodule_search_locations
    source = Path(spec.submodule_search_locations[0]) / "tasks" / "ocrbench"
    (folder / "utils.py").write_text((source / "utils.py").read_text())
    text = (source / "ocrbench.yaml").read_text().replace('task: "ocrbench"', f'task: "{TASK}"')
    local = f"dataset_path: parquet\ndataset_kwargs:\n  data_files:\n    test: {folder / 'questions.parquet'}\n"
    text = re.sub(r"dataset_path: .*\ndataset_kwargs:\n  token: True\n", local, text)
    assert local in text, "lmms-eval's task of OCRBench is written in another way"
    (folder / f"{TASK}.yaml").write_text(text)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    folder = Path(sys.argv[1])
    write_task(folder)
    sys.argv = ["lmms_eval", "--tasks", TASK, "--include_path", str(folder), *sys.argv[2:]]
    runpy.run_module("lmms_eval", run_name="__main__")
