"""Desktop programs. What needs none of them is tested by tables; the others run the calculator of Debian."""

import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil
import pytest
from PIL import Image as PILImage

from step3vl.data.sample import Action
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.gui import AskAboutEpisodes, OpenPages
from step3vl.pipelines.domains.gui_desktop import DesktopEntry, RecordPrograms
from step3vl.pipelines.gui.desktop import bus
from step3vl.pipelines.gui.desktop.bus import Rect, Widget
from step3vl.pipelines.gui.desktop.hits import Layout
from step3vl.pipelines.gui.desktop.program import Program, read_program
from step3vl.pipelines.gui.desktop.recorder import DesktopProgram, DesktopRecorder
from step3vl.pipelines.gui.effect import observe_effect
from step3vl.pipelines.gui.explorers import Recording, Trial, perform
from step3vl.pipelines.gui.hindsight import attempts
from step3vl.pipelines.gui.screen import Element, Episode, Screen
from step3vl.pipelines.gui.view import View

ROOT = Path(__file__).parents[3]
FONTS = sorted((ROOT / "data/step3vl/data/assets/fonts").glob("*.[to]tf"))
CALCULATOR = ROOT / "data/samples/programs/galculator.desktop"
SIZE = (640, 480)
VIEW = View(
    seed=3, width=SIZE[0], height=SIZE[1], scale=1.0, theme="light", language="en", font="DejaVu Sans", font_size=15,
    accent="#0b57d0", radius=4, density=1.0,
)  # fmt: skip


def widget(parent: int, role: str, box: Rect | None, *states: str, name: str = "") -> Widget:
    return Widget(("", ""), parent, role, name, frozenset({"showing", *states}), box)


PROGRAM = [widget(-1, "application", None), widget(0, "frame", (0, 0, 300, 300))]


@pytest.mark.parametrize(
    ("widgets", "windows", "hits"),
    [
        (
            [*PROGRAM, widget(1, "push button", (10, 10, 60, 40)), widget(0, "dialog", (40, 0, 140, 100))],
            [(40, 0, 140, 100), (0, 0, 300, 300)],
            {(20, 20): 2, (50, 20): 3, (200, 200): 1, (400, 400): None},
        ),
        (
            [*PROGRAM, widget(1, "push button", (10, 10, 60, 40)), widget(0, "dialog", (150, 0, 250, 100), "modal")],
            [(150, 0, 250, 100), (0, 0, 300, 300)],
            {(20, 20): None, (200, 20): 3},
        ),
        (
            [
                *PROGRAM, widget(1, "menu bar", (0, 0, 300, 20)), widget(2, "menu", (0, 0, 40, 20)),
                widget(3, "menu item", (0, 20, 90, 40)), widget(3, "menu item", (0, 40, 90, 60)),
            ],
            [(0, 18, 92, 62), (0, 0, 300, 300)],
            {(10, 30): 4, (10, 50): 5, (10, 10): None, (200, 200): None},
        ),
        (
            [*PROGRAM, widget(1, "combo box", (0, 0, 90, 20)), widget(2, "menu", (0, 0, 90, 50)),
             widget(3, "menu item", (0, 10, 90, 40)), widget(3, "menu item", (0, 40, 90, 70))],
            [(0, 0, 90, 50), (0, 0, 300, 300)],
            {(10, 20): None},
        ),
        (
            [*PROGRAM, widget(1, "scroll pane", (0, 0, 100, 50)), widget(2, "push button", (0, 30, 50, 90))],
            [(0, 0, 300, 300)],
            {(10, 40): 3, (10, 70): 1},
        ),
        (PROGRAM, [], {(10, 10): None}),
    ],
    ids=["dialog_over_window", "modal_dialog", "open_menu", "menu_with_arrows", "scrolled_away", "minimised"],
)  # fmt: skip
def test_click_reaches_what_is_on_top_and_can_be_operated(
    widgets: list[Widget], windows: list[Rect], hits: dict[tuple[int, int], int | None]
) -> None:
    layout = Layout(widgets, windows, SIZE)
    assert {point: layout.hit(*point) for point in hits} == hits


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("Exec=sh -c \"echo 100%%\" %U\nName=A", ("sh", "-c", "echo 100%")),
        ("Exec=no-such-program-here\nName=A", "program_not_installed"),
        ("Exec=sh\nName=A\nTerminal=true", "program_of_the_terminal"),
        ("Name=A", "no desktop entry of a program"),
        ("Exec=sh 'open\nName=A", "no desktop entry of a program"),
    ],
)  # fmt: skip
def test_desktop_entry_says_how_a_program_starts(text: str, command: tuple[str, ...] | str, tmp_path: Path) -> None:
    path = tmp_path / "a.desktop"
    path.write_text(f"[Desktop Entry]\n{text}\nName[zh_CN]=甲\n")
    if isinstance(command, str):
        with pytest.raises((Dropped, ValueError), match=command):
            read_program(path)
        return
    program = read_program(path)
    assert program.names == {"en": "A", "zh": "甲"}
    assert (Path(program.command[0]).name, *program.command[1:]) == command


def named(screen: Screen, name: str) -> Element:
    (element,) = [e for e in screen.controls() if e.name == name]
    return element


def click(page: DesktopProgram, screen: Screen, name: str) -> Screen:
    page.act(Action(action="click", point_2d=named(screen, name).point))
    return page.observe()


ResultT = TypeVar("ResultT")


def run(episode: Callable[[DesktopProgram], ResultT], program: Program | None = None) -> ResultT:
    """Run the calculator, or another program."""
    return DesktopRecorder(FONTS).run(program or read_program(CALCULATOR), VIEW, episode)


@pytest.fixture(scope="module")
def visit() -> list[Screen]:
    """The calculator, its menu, the dialog that it opens, the calculator again, and the desktop when it has ended."""

    def episode(page: DesktopProgram) -> list[Screen]:
        screens = [page.observe()]
        for name in ("Help", "About"):
            screens.append(click(page, screens[-1], name))
        page.act(Action(action="hot_key", text="escape"))
        screens.append(page.observe())
        return [*screens, click(page, click(page, screens[-1], "File"), "Quit")]

    return run(episode)


@pytest.mark.desktop
@pytest.mark.slow
def test_menu_and_dialog_are_all_that_can_be_operated_while_they_are_open(visit: list[Screen]) -> None:
    start, menu, dialog, again, ended = visit
    steps = ((start, menu), (menu, dialog), (again, ended))
    effects = [observe_effect(*step, Action(action="wait"), None) for step in steps]
    assert [(effect.kind, effect.subject) for effect in effects] == [
        ("popup_opened", "Help"), ("dialog_opened", "About galculator"), ("closed", "Calculator"),
    ]  # fmt: skip
    assert [e.name for e in menu.controls()] == ["About"]
    operable = {e.name for e in dialog.controls()}
    assert "Close" in operable and not operable & {"7", "File"}
    assert again.state() == start.state() and not ended.elements


@pytest.mark.desktop
@pytest.mark.slow
def test_lines_of_labels_hold_their_ink(visit: list[Screen]) -> None:
    """No line of the dialog's labels has ink at the edges of its box, and each has some inside."""
    screen = visit[2]
    with PILImage.open(io.BytesIO(screen.image.read())) as image:
        pixels = np.asarray(image.convert("L")).astype(int)
    lines = [line for line in screen.lines if line.whole]
    assert len(lines) >= 3
    for line in lines:
        x1, y1, x2, y2 = map(int, line.box)
        edges = (pixels[y1 - 1, x1:x2], pixels[y2, x1:x2], pixels[y1:y2, x1 - 2], pixels[y1:y2, x2 + 1])
        assert np.ptp(np.concatenate(edges)) < 20 < np.ptp(pixels[y1:y2, x1:x2]), line.text


@pytest.mark.desktop
@pytest.mark.slow
def test_click_near_each_corner_of_a_key_types_its_digit_and_the_same_clicks_give_the_same_screen() -> None:
    def episode(page: DesktopProgram) -> Screen:
        x1, y1, x2, y2 = named(page.observe(), "9").box
        for u, v in ((0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9)):
            point = round((x1 + u * (x2 - x1)) / SIZE[0] * 1000), round((y1 + v * (y2 - y1)) / SIZE[1] * 1000)
            page.act(Action(action="click", point_2d=point))
        return page.observe()

    screen = run(episode)
    assert "9999" in [node.name for node in screen.tree if node.role == "text"]
    assert run(episode) == screen


@pytest.mark.desktop
@pytest.mark.slow
def test_what_is_typed_replaces_what_is_in_the_field_whatever_the_alphabet() -> None:
    def episode(page: DesktopProgram) -> list[str]:
        screen = page.observe()
        for name in ("Edit", "Preferences...", "Constants"):
            screen = click(page, screen, name)
        field = next(e for e in screen.controls() if e.role == "textbox")
        values = []
        for text in ("old", "Å+新 π"):
            page.act(Action(action="type", point_2d=field.point, text=text))
            values += [e.value for e in page.observe().elements if e.index == field.index]
        return values

    assert run(episode) == ["old", "Å+新 π"]


@pytest.mark.desktop
@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "sent", "error"),
    [
        ("galculator", signal.SIGSEGV, "program_crashed"),
        ("galculator", signal.SIGSTOP, "program_does_not_answer"),
        ("Xvfb", signal.SIGKILL, "X connection"),
    ],
)
def test_crash_loses_its_episode_and_leaves_nothing(
    program: str, sent: signal.Signals, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = children()

    def episode(page: DesktopProgram) -> Screen:
        (process,) = [process for process in children() - before if process.name() == program]
        process.send_signal(sent)
        while process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_STOPPED):
            time.sleep(0.01)
        monkeypatch.setattr(bus, "_SECONDS", 0.5)
        return page.observe()

    with pytest.raises((Dropped, OSError), match=error):
        run(episode)
    assert children() <= before


@pytest.mark.desktop
@pytest.mark.slow
def test_program_that_crashes_a_moment_after_its_window_has_gone_has_crashed() -> None:
    command = "/bin/sh", "-c", "galculator; sleep 0.5; kill -SEGV $$"

    def episode(page: DesktopProgram) -> Screen:
        page.act(Action(action="hot_key", text="ctrl+q"))
        return page.observe()

    with pytest.raises(Dropped, match="program_crashed"):
        DesktopRecorder(FONTS).run(Program({"en": "Calculator"}, command), VIEW, episode)


@pytest.mark.desktop
@pytest.mark.slow
def test_what_a_walk_reached_is_a_task_that_its_actions_do_again() -> None:
    """Here the walk opens a dialog after a digit that it does not need."""

    def episode(page: DesktopProgram) -> Episode:
        recording = Recording([page.observe()], [])
        for number, name in enumerate(("7", "Help", "About")):
            target = named(recording.screens[-1], name)
            perform(page, recording, number, Trial(Action(action="click", point_2d=target.point), target))
        return Episode(
            kind="walk", page="p", licence="CC0-1.0", language="en", view={"platform": "desktop"},
            screens=tuple(recording.screens), steps=tuple(recording.steps),
        )  # fmt: skip

    walk = run(episode)
    task = next(each for each in attempts(walk, 9, random.Random(0)) if "dialog" in each.episode.goal["en"])
    assert (len(task.lead), [step.effect.kind for step in task.episode.steps]) == (
        1,
        ["popup_opened", "dialog_opened"],
    )

    def again(page: DesktopProgram) -> Screen:
        for step in task.episode.steps:
            page.act(step.action)
        return page.observe()

    assert any(node.role == "dialog" for node in run(again).tree)
    entry = DesktopEntry.model_validate({"domain": "gui.desktop", "name": "t", "sources": [
        {"files": ["data/samples/programs/galculator.desktop"], "licence": "CC0-1.0"}]})  # fmt: skip
    context = StepContext(seed=0, base=str(ROOT))
    samples = list(AskAboutEpisodes(entry, context).process(Record("p/0", walk), rng_for(0)))
    by_task = Counter(sample.task for sample in samples)
    assert (
        by_task["gui.trajectory.operation"]
        and by_task["gui.trajectory.step"]
        and by_task["gui.trajectory.verification"]
    )


@pytest.mark.desktop
def test_program_without_a_window_is_dropped() -> None:
    before = children()
    with pytest.raises(Dropped, match="program_shows_no_window"):
        run(lambda page: page.observe(), Program({"en": "true", "zh": "true"}, ("/bin/true",)))
    assert children() <= before


def children() -> set[psutil.Process]:
    """The processes that this one has started, and theirs, but for those of browsers, which start some at any time."""
    started = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "chrom" not in process.name():
                started.add(process)
    return started


@pytest.mark.desktop
@pytest.mark.slow
def test_desktop_ends_when_the_recorder_is_killed() -> None:
    code = (
        "import sys, time; from step3vl.pipelines.gui.desktop.session import Session\n"
        "from step3vl.pipelines.gui.view import View\n"
        f"session = Session(View.model_validate_json({VIEW.model_dump_json()!r}), [])\n"
        "print(session._guard.pid, session._folder, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        number, folder = process.stdout.readline().split()
        group = int(number)
        assert members(group) and Path(folder).is_dir()
        process.kill()
    end = time.monotonic() + 10
    while members(group) and time.monotonic() < end:
        time.sleep(0.05)
    assert not members(group) and not Path(folder).exists()


def members(group: int) -> list[int]:
    """The processes of a group."""
    result = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                result.append(pid)
    return result


@pytest.mark.desktop
@pytest.mark.slow
def test_every_answer_about_a_program_is_graded_right() -> None:
    context = StepContext(seed=0, base=str(ROOT))
    entry = DesktopEntry.model_validate({
        "domain": "gui.desktop", "name": "t", "sources": [{"files": ["data/samples/programs/galculator.desktop"],
        "licence": "GPL-2.0-or-later"}], "actions": 4, "episodes": 1, "questions": 12, "screen_sizes": [SIZE],
    })  # fmt: skip
    worker, asking = RecordPrograms(entry, context), AskAboutEpisodes(entry, context)
    worker.setup()
    (pattern,) = entry.sources[0].files
    (file,) = list_pattern(pattern, "GPL-2.0-or-later", entry="t", base=context.base, store=context.store)
    (page,) = OpenPages(entry, context).process(Record(file.key, file), rng_for(0))
    (record,) = worker.process(page, rng_for(page.key))
    samples = list(asking.process(Record(page.key, record.value), rng_for(page.key)))
    assert {"gui.grounding.point", "gui.grounding.box", "gui.action.single"} <= {s.task for s in samples}
    for sample in samples:
        assert sample.source.traits["platform"] == "desktop"
        if sample.truth is not None:
            assert grade_answer(sample.truth, sample.answer()).value == 1.0, sample.task
