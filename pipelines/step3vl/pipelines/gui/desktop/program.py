"""Which program is recorded: what a desktop entry says, as they lie in `/usr/share/applications`."""

import configparser
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from step3vl.pipelines.core.steps import Dropped

_GROUP = "Desktop Entry"
_FIELD_CODE = re.compile(r"%[a-zA-Z]")  # a file, an icon and so on that a launcher would put there


class Program(NamedTuple):
    """A program.

    Attributes:
        names: What it is called, by language; English is there.
        command: Its path and arguments.
    """

    names: Mapping[str, str]
    command: tuple[str, ...]


def read_program(path: Path) -> Program:
    """The program of a desktop entry (freedesktop.org's Desktop Entry Specification 1.5).

    Args:
        path: The file, such as `/usr/share/applications/galculator.desktop`.

    Raises:
        ValueError: It is no desktop entry of a program.
        Dropped: The program is not installed, or runs in a terminal.
    """
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys are case-sensitive
    try:
        parser.read_string(path.read_text("utf-8"))
        entry = parser[_GROUP]
        command = [_FIELD_CODE.sub("", word).replace("%%", "%") for word in shlex.split(entry["Exec"])]
        name = entry["Name"]
    except (configparser.Error, KeyError, ValueError) as error:
        raise ValueError(f"{path.name} is no desktop entry of a program: {error}") from None
    if entry.get("Terminal") == "true":
        raise Dropped("program_of_the_terminal")
    executable = shutil.which(command[0]) if command else None
    if executable is None:
        raise Dropped("program_not_installed")
    return Program({"en": name, "zh": entry.get("Name[zh_CN]", name)}, (executable, *filter(None, command[1:])))
