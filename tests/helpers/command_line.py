"""The command line in the test's process: what `step3vl` prints and its exit code, without the seconds of a start."""

import io
import logging
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from step3vl.workflows.cli import main


def run_command(*arguments: object, code: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `step3vl` as its entry point does, and see that it ends with `code`.

    Args:
        arguments: Of the command line.
        code: The expected exit code.
        cwd: The folder in which it runs; by default the present one.
    """
    words = ["step3vl", *map(str, arguments)]
    output, errors = io.StringIO(), io.StringIO()
    log = logging.getLogger("step3vl")
    level = log.level
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.setattr(sys, "argv", words)
        patch.setenv("COLUMNS", "200")
        if cwd:
            patch.chdir(cwd)
        try:
            main()
            status: str | int | None = 0
        except SystemExit as end:
            status = end.code
        finally:
            log.setLevel(level)  # commands change it
    done = subprocess.CompletedProcess(words, int(status or 0), output.getvalue(), errors.getvalue())
    assert done.returncode == code, done.stdout + done.stderr
    return done
