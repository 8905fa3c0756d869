"""Each format on a set in it: what is said of it, with the traps that readers of these sets met."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.pipelines.gui.sets.gui_sets import FOLDER, SETS, read

from step3vl.data.sample.action import Direction
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.gui.sets import agentnet, gui_odyssey, mind2web, weblinx
from step3vl.pipelines.gui.sets.actions import LOSSES, to_action, view_direction
from step3vl.pipelines.gui.sets.format import SetFile
from step3vl.pipelines.gui.sets.formats import FORMATS
from step3vl.pipelines.gui.sets.records import RawAction, RawEpisode, RawScreen

PHONE, DESKTOP = (270, 480), (480, 320)
PLUS = (206, 412, 258, 464)
FILE = SetFile(Path("x.json"), "/x.json")


def episode(name: str, file: str, number: int = 0) -> RawEpisode:
    value = read(name, Path(FOLDER, name, file))[number]
    assert isinstance(value, RawEpisode)
    return value


def screen(name: str, file: str) -> RawScreen:
    value = read(name, Path(FOLDER, name, file))[0]
    assert isinstance(value, RawScreen)
    return value


def actions_of(value: RawEpisode) -> list[str]:
    return [step.action.action if step.action else f"lost: {step.loss}" for step in value.steps]


def action_of(value: RawEpisode, number: int) -> RawAction:
    action = value.steps[number].action
    assert action is not None
    return action


def test_every_format_has_a_set() -> None:
    assert set(FORMATS) == set(SETS)


def test_android_control_ends_after_the_last_screenshot_and_finds_the_element() -> None:
    first = episode("android_control", "android_control-00000-of-00001")
    assert actions_of(first) == ["click", "type", "click", "complete"]
    _, truth = to_action(action_of(first, 0), PHONE)
    assert truth.boxes == ((763, 858, 956, 967),)  # of the button, not of the window around it
    assert first.steps[0].instruction == "Tap the plus button"


def test_android_control_scrolls_the_view() -> None:
    second = episode("android_control", "android_control-00000-of-00001", 1)
    assert actions_of(second) == ["awake", "scroll", "complete"]
    assert action_of(second, 1).direction == "down"  # by a finger that moves up, as its instruction says


def test_aitw_writes_y_first_and_tells_taps_from_swipes() -> None:
    value = episode("aitw", "general-00000-of-00001")
    assert actions_of(value) == ["slide", "click", "type", "hot_key", "complete"]
    swipe, _ = to_action(action_of(value, 0), (108, 192))
    assert (swipe.point_2d, swipe.end_point_2d) == ((500, 800), (500, 300))  # a finger that moves up
    tap, truth = to_action(action_of(value, 1), (108, 192))
    assert tap.point_2d in ((859, 912), (859, 913))  # its file has them in 32 bits
    assert truth.boxes == ((763, 858, 956, 967),)


def test_a_scroll_counts_anywhere() -> None:
    value = episode("agentnet", "s_1.json")
    action, truth = to_action(action_of(value, 3), DESKTOP)
    assert (action.direction, truth.boxes) == ("down", ())


def test_mind2web_loses_hovering_and_types_options() -> None:
    first, second = (episode("mind2web", "train-00000-of-00001.parquet", number) for number in (0, 1))
    assert actions_of(first) == ["type", "type", "click"]
    assert [step.loss for step in first.steps] == ["", "select", ""]
    assert actions_of(second) == ["lost: hover", "click"]


def test_mind2web_refuses_the_files_of_its_test_sets() -> None:
    with pytest.raises(ValueError, match="not for training"):
        list(mind2web.items(SetFile(Path("x"), "/data/test_task-00000-of-00005.parquet")))


def test_mind2web_knows_candidates_without_a_box() -> None:
    row = {
        "operation": json.dumps({"op": "CLICK", "value": ""}),
        "pos_candidates": [json.dumps({"attributes": json.dumps({"bounding_box_rect": "-1,-1,-1,-1"})})],
        "screenshot": {"bytes": Path(FOLDER, "images/desktop_mail.png").read_bytes()},
        "action_reprs": ["a", "b"], "target_action_index": "1", "confirmed_task": "do it",
    }  # fmt: skip
    value = mind2web.convert([row], FILE)
    assert actions_of(value) == ["lost: element_without_box"]
    assert value.problem == "incomplete"  # the first step of the task is in another file


def test_weblinx_has_points_in_the_window_and_steps_without_screens() -> None:
    value = episode("weblinx", "replay.json")
    assert actions_of(value) == ["lost: address", "type", "lost: hover", "click", "scroll", "lost: tab"]
    assert value.goal == "Please open the mail about tickets."
    click, _ = to_action(action_of(value, 3), DESKTOP)
    assert click.point_2d == (625, 188)
    assert value.steps[5].screen.name == ""


@pytest.mark.parametrize(
    ("intent", "arguments", "expected"),
    [
        ("copy", {"selected": "abc"}, ("hot_key", "ctrl+c", "copied_text")),
        ("paste", {"pasted": "abc"}, ("type", "abc", "")),
        ("submit", {}, ("hot_key", "enter", "submit")),
        ("change", {"value": "Blue"}, ("type", "Blue", "select")),
    ],
)
def test_weblinx_approximates(intent: str, arguments: dict[str, Any], expected: tuple[str, str, str]) -> None:
    metadata = {"viewportWidth": 480, "viewportHeight": 320}
    turn = {
        "type": "browser", "state": {"screenshot": "a.png", "screenshot_status": "good"},
        "action": {"intent": intent, "arguments": {"metadata": metadata, **arguments}},
    }  # fmt: skip
    chat = {"type": "chat", "speaker": "instructor", "utterance": "Do it"}
    (step,) = weblinx.convert({"data": [chat, turn]}, FILE).steps
    assert step.action is not None
    assert (step.action.action, step.action.text, step.loss) == expected


def test_weblinx_without_an_instructor_has_no_goal() -> None:
    turn = {"type": "browser", "state": None, "action": {"intent": "load", "arguments": {}}}
    with pytest.raises(Dropped, match="no_goal"):
        weblinx.convert({"data": [turn]}, FILE)


def test_gui_odyssey_takes_a_click_on_a_text_for_a_key() -> None:
    value = episode("gui_odyssey", "0000001.json")
    assert actions_of(value) == ["click", "type", "slide", "hot_key", "complete"]
    assert action_of(value, 3).text == "home"
    _, truth = to_action(action_of(value, 0), PHONE)
    assert truth.boxes == ((763, 858, 956, 967),)


def test_gui_odyssey_names_the_key_of_recent_applications() -> None:
    raw = {"screenshot": "a.png", "action": "CLICK", "info": "KEY_APPSELECT"}
    record = {"task_info": {"instruction": "Change"}, "step_length": 2, "steps": [raw]}
    value = gui_odyssey.convert(record, FILE)
    assert value.steps[0].loss == "app_switch"
    assert value.problem == "incomplete"


def test_amex_has_episodes_and_elements() -> None:
    value = episode("amex", "instruction_ab12.json")
    assert actions_of(value) == ["click", "type", "click", "slide", "complete"]
    elements = screen("amex", "element_phone_list.json")
    assert [target.phrase for target in elements.targets[:2]] == ["name", "function"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("pyautogui.click(x=0.5, y=0.25)", ("click", None, None, "")),
        ("pyautogui.doubleClick(x=0.5, y=0.25)", ("double_click", None, None, "")),
        ("computer.tripleClick(x=0.5, y=0.25)", ("double_click", None, None, "triple_click")),
        ("pyautogui.write(message='a\\'b')", ("type", "a'b", None, "")),
        ("pyautogui.hotkey(keys=['Ctrl', 'C'])", ("hot_key", "ctrl+c", None, "")),
        ("pyautogui.press(keys=['enter'])", ("hot_key", "enter", None, "")),
        ("pyautogui.scroll(-3)", ("scroll", None, "down", "scroll_amount")),
        ("pyautogui.moveTo(x=0.5, y=0.5)\npyautogui.scroll(54)", ("scroll", None, "up", "scroll_amount")),
        ("pyautogui.hscroll(2)", ("scroll", None, "right", "scroll_amount")),
        ("pyautogui.moveTo(x=0.5, y=0.5)\npyautogui.dragTo(x=0.6, y=0.6, button='left')", ("slide", None, None, "")),
        ("computer.terminate(status='failure')", ("abort", None, None, "")),
        ("pyautogui.rightClick(x=0.5, y=0.5)", "right_click"),
        ("pyautogui.moveTo(x=0.5, y=0.5)", "hover"),
        ("pyautogui.write(message='a')\npyautogui.press(keys=['enter'])", "several_actions"),
        ("pyautogui.alert('x')", "unknown_action"),
    ],
)
def test_agentnet_reads_code_without_running_it(code: str, expected: tuple[Any, ...] | str) -> None:
    action, loss = agentnet.read_code(code, [])
    assert (action if isinstance(action, str) else (action.action, action.text, action.direction, loss)) == expected


@pytest.mark.parametrize("code", ["import os", "x = 1", "pyautogui.click(x=open('a'), y=1)", "(", "f(1)"])
def test_agentnet_refuses_other_code(code: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        agentnet.read_code(code, [])


@pytest.mark.parametrize(
    ("name", "file", "target", "box"),
    [
        ("os_atlas", "desktop.json", 0, (8, 40, 120, 70)),
        ("seeclick", "seeclick_web.json", 0, (8, 40, 120, 70)),
        ("screenspot_pro", "mail_linux.json", 0, (8, 40, 120, 70)),
        ("osworld_g", "OSWorld-G.json", 0, (8, 40, 120, 70)),
    ],
)
def test_boxes_are_those_of_the_screen(name: str, file: str, target: int, box: tuple[int, ...]) -> None:
    place = screen(name, file).targets[target].place
    assert place is not None
    read_box = place.box(DESKTOP)
    assert (read_box.x1, read_box.y1, read_box.x2, read_box.y2) == pytest.approx(box)


def test_wave_ui_leaves_out_the_test_set_in_it() -> None:
    with pytest.raises(Dropped, match="test_set"):
        read("wave_ui", Path(FOLDER, "wave_ui/train-00000-of-00001.parquet"))


def test_refusals_have_no_place() -> None:
    values = read("osworld_g", Path(FOLDER, "osworld_g/OSWorld-G.json"))
    assert isinstance(values[2], RawScreen)
    assert values[2].targets[0].place is None


@pytest.mark.parametrize(
    ("across", "down", "direction"), [(0, 5, "down"), (0, -5, "up"), (9, 5, "right"), (-9, 5, "left")]
)
def test_directions_are_those_of_the_view(across: float, down: float, direction: Direction) -> None:
    assert view_direction(across, down) == direction


def test_every_loss_is_described() -> None:
    modules = Path(mind2web.__file__).parent.glob("*.py")
    text = "\n".join(path.read_text() for path in modules if path.name != "actions.py")
    assert all(f'"{loss}"' in text for loss in LOSSES)
