"""Make the sets of this folder: screens of an app that does not exist, in the formats of public sets of interfaces.

    python data/samples/gui_sets/make_gui_sets.py

Boxes are those that the screens were rendered with. TFRecord files and protocol buffers are written here by a few
lines of their own, which the readers of the package share nothing with.
"""

import gzip
import io
import json
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from crc32c import crc32c
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

HERE = Path(__file__).parent
FONT = HERE.parents[1] / "step3vl" / "data" / "assets" / "fonts" / "DejaVuSans.ttf"
PHONE, DESKTOP = (270, 480), (480, 320)
Box = tuple[int, int, int, int]


class Element(NamedTuple):
    """What a screen has: a text in a box, and what it is for."""

    text: str
    box: Box
    purpose: str
    kind: str = "text"


PHONE_SCREENS = {
    "phone_list": (
        Element("Notes", (0, 0, 270, 48), "The title of the list", "title"),
        Element("Shopping", (12, 64, 258, 112), "Open the note about shopping"),
        Element("Holiday plans", (12, 124, 258, 172), "Open the note about the holiday"),
        Element("Bicycle repair", (12, 184, 258, 232), "Open the note about the bicycle"),
        Element("+", (206, 412, 258, 464), "Write a new note", "icon"),
    ),
    "phone_editor": (
        Element("<", (4, 4, 44, 44), "Go back to the list of notes", "icon"),
        Element("Title", (12, 64, 258, 112), "Type the title of the note", "field"),
        Element("Text", (12, 124, 258, 300), "Type the text of the note", "field"),
        Element("Save", (150, 412, 258, 464), "Keep the note"),
    ),
    "phone_saved": (
        Element("Notes", (0, 0, 270, 48), "The title of the list", "title"),
        Element("Bread and milk", (12, 64, 258, 112), "Open the new note"),
        Element("Shopping", (12, 124, 258, 172), "Open the note about shopping"),
        Element("+", (206, 412, 258, 464), "Write a new note", "icon"),
    ),
}
DESKTOP_SCREENS = {
    "desktop_mail": (
        Element("Inbox", (8, 40, 120, 70), "Show the messages that came in"),
        Element("Sent", (8, 78, 120, 108), "Show the messages that were sent"),
        Element("Search mail", (140, 6, 380, 32), "Look for a message", "field"),
        Element("Lunch on Friday", (140, 44, 470, 84), "Read the message about lunch"),
        Element("Train tickets", (140, 92, 470, 132), "Read the message about tickets"),
        Element("Archive", (392, 6, 470, 32), "Put the message away", "icon"),
    ),
    "desktop_results": (
        Element("Inbox", (8, 40, 120, 70), "Show the messages that came in"),
        Element("tickets", (140, 6, 380, 32), "Look for a message", "field"),
        Element("Train tickets", (140, 44, 470, 84), "Read the message about tickets"),
        Element("Archive", (392, 6, 470, 32), "Put the message away", "icon"),
    ),
}
SCREENS: dict[str, tuple[Element, ...]] = {**PHONE_SCREENS, **DESKTOP_SCREENS}


def size_of(name: str) -> tuple[int, int]:
    """Width and height of a screen."""
    return PHONE if name in PHONE_SCREENS else DESKTOP


def element(screen: str, text: str) -> Element:
    """The element of a screen with a text."""
    return next(each for each in SCREENS[screen] if each.text == text)


def centre(box: Box) -> tuple[float, float]:
    """The middle of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def render(name: str) -> PILImage.Image:
    """The image of a screen."""
    canvas = PILImage.new("RGB", size_of(name), "#f4f5f7")
    brush = ImageDraw.Draw(canvas)
    font = ImageFont.truetype(str(FONT), 15)
    for each in SCREENS[name]:
        x1, y1, x2, y2 = each.box
        fill = {"title": "#0b57d0", "icon": "#0b57d0", "field": "#ffffff"}.get(each.kind, "#e3e8f0")
        brush.rectangle((x1, y1, x2 - 1, y2 - 1), fill=fill, outline="#9aa4b5")
        colour = "#ffffff" if each.kind in ("title", "icon") else "#1a1c20"
        brush.text((x1 + 10, (y1 + min(y2, y1 + 48)) / 2), each.text, font=font, fill=colour, anchor="lm")
    return canvas


def png(image: PILImage.Image) -> bytes:
    """An image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


# Protocol buffers: field numbers, wire types, lengths.


def varint(value: int) -> bytes:
    """A number in sevens of bits; a negative one as 64 bits."""
    value &= (1 << 64) - 1
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def block(number: int, data: bytes) -> bytes:
    """A field of bytes, a text or a message."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def number_field(number: int, value: int) -> bytes:
    """A field of an integer, which is not written where it is 0."""
    return varint(number << 3) + varint(value) if value else b""


def example(features: dict[str, Any]) -> bytes:
    """A `tf.train.Example`: lists of bytes, floats or integers by name."""
    entries = b""
    for name, values in features.items():
        if isinstance(values[0], bytes):
            kind, body = 1, b"".join(block(1, value) for value in values)
        elif isinstance(values[0], float):
            kind, body = 2, block(1, struct.pack(f"<{len(values)}f", *values))
        else:
            kind, body = 3, block(1, b"".join(varint(value) for value in values))
        entries += block(1, block(1, name.encode()) + block(2, block(kind, body)))
    return block(1, entries)


def write_records(path: Path, records: Sequence[bytes]) -> None:
    """A TFRecord file, compressed."""

    def masked(data: bytes) -> bytes:
        value = crc32c(data)
        return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    lines = b""
    for record in records:
        length = struct.pack("<Q", len(record))
        lines += length + masked(length) + record + masked(record)
    path.write_bytes(gzip.compress(lines, mtime=0))


def forest(screen: str) -> bytes:
    """The accessibility forest of a screen: a window whose root holds the elements."""

    def node(box: Box, text: str, clickable: bool) -> bytes:
        rect = b"".join(number_field(side, value) for side, value in enumerate(box, 1))
        return block(2, rect) + block(7, text.encode()) + number_field(14, int(clickable)) + number_field(23, 1)

    nodes = [node((0, 0, *PHONE), "", False)]
    nodes += [node(each.box, each.text, each.kind != "title") for each in SCREENS[screen]]
    return block(1, block(11, b"".join(block(1, each) for each in nodes)))


def android_control(images: dict[str, bytes]) -> None:
    names = ["phone_list", "phone_editor", "phone_editor", "phone_saved"]
    x, y = centre(element("phone_list", "+").box)
    save = centre(element("phone_editor", "Save").box)
    actions = [
        {"action_type": "click", "x": int(x), "y": int(y)},
        {"action_type": "input_text", "text": "Bread and milk"},
        {"action_type": "click", "x": int(save[0]), "y": int(save[1])},
    ]
    words = ["Tap the plus button", "Type the title", "Tap Save"]
    scroll: list[dict[str, Any]] = [
        {"action_type": "open_app", "app_name": "Notes"},
        {"action_type": "scroll", "direction": "down"},
    ]
    records = [
        control_example(7, "Write down that we need bread and milk", names, actions, words, images),
        control_example(
            8, "Look at the end of my notes", ["phone_list"] * 3, scroll, ["Open Notes", "Swipe up"], images
        ),
    ]
    write_records(folder("android_control") / "android_control-00000-of-00001", records)


def control_example(
    number: int, goal: str, names: list[str], actions: list[dict[str, Any]], words: list[str], images: dict[str, bytes]
) -> bytes:
    return example({
        "episode_id": [number],
        "goal": [goal.encode()],
        "screenshots": [images[name] for name in names],
        "accessibility_trees": [forest(name) for name in names],
        "screenshot_widths": [PHONE[0]] * len(names),
        "screenshot_heights": [PHONE[1]] * len(names),
        "actions": [json.dumps(action).encode() for action in actions],
        "step_instructions": [text.encode() for text in words],
    })  # fmt: skip


def aitw() -> None:
    small = (108, 192)
    records = []
    plus = centre(element("phone_list", "+").box)
    touch = (plus[1] / PHONE[1], plus[0] / PHONE[0])
    steps: list[tuple[str, int, str, tuple[float, float], tuple[float, float]]] = [
        ("phone_list", 4, "", (0.8, 0.5), (0.3, 0.5)),  # a swipe of the finger upwards
        ("phone_list", 4, "", touch, (touch[0] + 0.01, touch[1])),
        ("phone_editor", 3, "Bread and milk", (-1.0, -1.0), (-1.0, -1.0)),
        ("phone_editor", 7, "", (-1.0, -1.0), (-1.0, -1.0)),
        ("phone_saved", 10, "", (-1.0, -1.0), (-1.0, -1.0)),
    ]
    for number, (name, kind, text, first, last) in enumerate(steps):
        boxes = [each.box for each in SCREENS[name]]
        positions = [
            value
            for x1, y1, x2, y2 in boxes
            for value in (y1 / PHONE[1], x1 / PHONE[0], (y2 - y1) / PHONE[1], (x2 - x1) / PHONE[0])
        ]
        records.append(
            example(
                {
                    "episode_id": [b"1234"],
                    "episode_length": [len(steps)],
                    "step_id": [number],
                    "goal_info": [b"Add a note that says bread and milk"],
                    "image/encoded": [render(name).resize(small).tobytes()],
                    "image/width": [small[0]],
                    "image/height": [small[1]],
                    "image/channels": [3],
                    "image/ui_annotations_positions": positions,
                    "image/ui_annotations_text": [each.text.encode() for each in SCREENS[name]],
                    "image/ui_annotations_ui_types": [each.kind.upper().encode() for each in SCREENS[name]],
                    "results/action_type": [kind],
                    "results/type_action": [text.encode()],
                    "results/yx_touch": list(first),
                    "results/yx_lift": list(last),
                }
            )
        )
    write_records(folder("aitw") / "general-00000-of-00001", records)


def mind2web(images: dict[str, bytes]) -> None:
    def candidate(screen: str, text: str) -> str:
        x1, y1, x2, y2 = element(screen, text).box
        rect = f"{x1},{y1},{x2 - x1},{y2 - y1}"
        attributes = json.dumps({"backend_node_id": "12", "bounding_box_rect": rect})
        return json.dumps({"tag": "div", "attributes": attributes, "is_original_target": True})

    operations = [
        ("desktop_mail", "Search mail", {"original_op": "TYPE", "value": "tickets", "op": "TYPE"}),
        ("desktop_mail", "Inbox", {"original_op": "SELECT", "value": "Unread", "op": "SELECT"}),
        ("desktop_results", "Train tickets", {"original_op": "CLICK", "value": "", "op": "CLICK"}),
    ]
    hover = ("desktop_mail", "Archive", {"original_op": "HOVER", "value": "", "op": "CLICK"})
    rows = []
    for task, goal, steps in (
        ("a1", "Find the message about tickets that is not read yet", operations),
        ("b2", "Put the message about tickets away", [hover, operations[2]]),
    ):
        rows += [
            {
                "action_uid": f"{task}-{number}",
                "annotation_id": task,
                "confirmed_task": goal,
                "operation": json.dumps(operation),
                "pos_candidates": [candidate(screen, text)],
                "neg_candidates": [candidate(screen, SCREENS[screen][0].text)],
                "action_reprs": [f"[div] {text} -> {operation['op']}" for _, text, operation in steps],
                "target_action_index": str(number),
                "screenshot": {"bytes": images[screen], "path": None},
                "website": "mail",
                "domain": "Service",
                "subdomain": "Mail",
            }
            for number, (screen, text, operation) in enumerate(steps)
        ]
    pq.write_table(pa.Table.from_pylist(rows), folder("mind2web") / "train-00000-of-00001.parquet")


def weblinx(images: dict[str, bytes]) -> None:
    target = folder("weblinx") / "screenshots"
    target.mkdir(exist_ok=True)
    for number, name in enumerate(("desktop_mail", "desktop_results")):
        (target / f"screenshot-{number}-0.png").write_bytes(images[name])

    def browser(intent: str, screen: int, status: str = "good", **arguments: Any) -> dict[str, Any]:
        metadata = {
            "viewportWidth": DESKTOP[0], "viewportHeight": DESKTOP[1], "zoomLevel": 1, "url": "https://mail.invalid/",
        }  # fmt: skip
        return {
            "type": "browser",
            "timestamp": float(screen),
            "state": {"screenshot": f"screenshot-{screen}-0.png", "page": None, "screenshot_status": status},
            "action": {"intent": intent, "arguments": {"metadata": metadata, **arguments}},
        }

    def where(screen: str, text: str) -> dict[str, Any]:
        x1, y1, x2, y2 = element(screen, text).box
        bounds = {
            "x": x1,
            "y": y1,
            "width": x2 - x1,
            "height": y2 - y1,
            "left": x1,
            "top": y1,
            "right": x2,
            "bottom": y2,
        }
        return {"tagName": "DIV", "bbox": bounds, "attributes": {"data-webtasks-id": "4717de80-eda2-4319"}}

    field, message = where("desktop_mail", "Search mail"), where("desktop_results", "Train tickets")
    turns = [
        {
            "type": "chat",
            "timestamp": 0.0,
            "speaker": "instructor",
            "utterance": "Please open the mail about tickets.",
        },
        browser("load", 0, properties={"url": "https://mail.invalid/"}),
        browser("textInput", 0, text="tickets", element=field),
        browser("hover", 1, element=message),
        browser("click", 1, element=message, properties={"clientX": 300, "clientY": 60}),
        browser("scroll", 1, scrollX=0, scrollY=240),
        browser("tabswitch", 1, status="none", properties={"tabIdOrigin": 1, "tabId": 2}),
        {"type": "chat", "timestamp": 9.0, "speaker": "navigator", "utterance": "It is open now."},
    ]
    (folder("weblinx") / "replay.json").write_text(json.dumps({"created": 0, "data": turns}, indent=1) + "\n")


def gui_odyssey() -> None:
    def milli(screen: str, text: str) -> list[int]:
        x, y = centre(element(screen, text).box)
        return [round(x / PHONE[0] * 1000), round(y / PHONE[1] * 1000)]

    x1, y1, x2, y2 = element("phone_list", "+").box
    box = [
        round(x1 / PHONE[0] * 1000),
        round(y1 / PHONE[1] * 1000),
        round(x2 / PHONE[0] * 1000),
        round(y2 / PHONE[1] * 1000),
    ]
    steps = [
        {
            "step": 0, "screenshot": "phone_list.png", "action": "CLICK", "info": [milli("phone_list", "+")],
            "intention": "A new note is needed, so the plus button comes first.",
            "low_level_instruction": "Tap the plus button.", "sam2_bbox": box,
        },
        {"step": 1, "screenshot": "phone_editor.png", "action": "TYPE", "info": "Bread and milk", "sam2_bbox": []},
        {"step": 2, "screenshot": "phone_saved.png", "action": "SCROLL", "info": [[500, 800], [500, 300]]},
        {"step": 3, "screenshot": "phone_saved.png", "action": "CLICK", "info": "KEY_HOME"},
        {"step": 4, "screenshot": "phone_saved.png", "action": "COMPLETE", "info": ""},
    ]  # fmt: skip
    episode = {
        "episode_id": "0000001",
        "device_info": {"device_name": "Small Phone", "w": PHONE[0], "h": PHONE[1]},
        "task_info": {
            "category": "General_Tool",
            "app": ["Notes"],
            "instruction": "Note bread and milk, then go home.",
        },
        "step_length": len(steps),
        "steps": steps,
    }
    (folder("gui_odyssey") / "0000001.json").write_text(json.dumps(episode, indent=1) + "\n")


def amex() -> None:
    plus, save = (
        centre(element(screen, text).box) for screen, text in (("phone_list", "+"), ("phone_editor", "Save"))
    )

    def step(number: int, screen: str, action: str, **fields: Any) -> dict[str, Any]:
        values = {"touch_coord": [0, 0], "lift_coord": [0, 0], "type_text": "", **fields}
        return {
            "step_id": number, "image_path": f"{screen}.png", "action": action, "device_dim": list(PHONE),
            "package_name": "invalid.notes", **values,
        }  # fmt: skip

    steps = [
        step(0, "phone_list", "TAP", touch_coord=list(map(int, plus)), lift_coord=list(map(int, plus))),
        step(1, "phone_editor", "TYPE", type_text="Bread and milk"),
        step(2, "phone_editor", "TAP", touch_coord=list(map(int, save)), lift_coord=list(map(int, save))),
        step(3, "phone_saved", "SWIPE", touch_coord=[135, 400], lift_coord=[135, 150]),
        step(4, "phone_saved", "TASK_COMPLETE"),
    ]
    episode = {"episode_id": "ab12", "instruction": "Write a note about bread and milk", "steps": steps}
    target = folder("amex")
    (target / "instruction_ab12.json").write_text(json.dumps(episode, indent=1) + "\n")
    elements = [
        {"bbox": list(each.box), "xml_desc": [each.text], "functionality": each.purpose}
        for each in SCREENS["phone_list"]
        if each.kind != "title"
    ]
    screen = {"image_path": "phone_list.png", "clickable_elements": elements, "scrollable_elements": []}
    (target / "element_phone_list.json").write_text(json.dumps(screen, indent=1) + "\n")


def agentnet() -> None:
    def unit(screen: str, text: str) -> tuple[str, dict[str, Any]]:
        x1, y1, x2, y2 = element(screen, text).box
        x, y = round((x1 + x2) / 2 / DESKTOP[0], 4), round((y1 + y2) / 2 / DESKTOP[1], 4)
        box = [x1 / DESKTOP[0], y1 / DESKTOP[1], (x2 - x1) / DESKTOP[0], (y2 - y1) / DESKTOP[1]]
        return f"x={x}, y={y}", {
            "bboxes": [{"category_id": 1, "rel_bbox": box, "abs_bbox": [x1, y1, x2 - x1, y2 - y1]}]
        }

    field, field_boxes = unit("desktop_mail", "Search mail")
    message, message_boxes = unit("desktop_results", "Train tickets")
    archive, _ = unit("desktop_results", "Archive")
    raw = [
        ("desktop_mail", f"pyautogui.click({field})", field_boxes, "Click the search field.", "It must be found."),
        ("desktop_mail", "pyautogui.write(message='tickets')", {}, "Type tickets.", "Its subject has tickets in it."),
        ("desktop_mail", "pyautogui.press(keys=['enter'])", {}, "Press Enter.", "The search has to begin."),
        ("desktop_results", f"pyautogui.moveTo({message})\npyautogui.scroll(-3)", {}, "Scroll down.", "Is it all?"),
        (
            "desktop_results", f"pyautogui.moveTo({message})\npyautogui.dragTo({archive}, button='left')",
            message_boxes, "Drag the message onto Archive.", "That puts it away.",
        ),
        ("desktop_results", "computer.terminate(status='success')", {}, "", "It is done."),
    ]  # fmt: skip
    steps = [
        {
            "step_num": number,
            "image": f"{screen}.png",
            "action": code,
            "inner_monologue": {"observation": "", "thought": thought, "low_level_instruction": words},
            "ground_truth_actions": [{"type": "", "params": {}, "metadata": metadata}],
        }
        for number, (screen, code, metadata, words, thought) in enumerate(raw, 1)
    ]
    task = {"task_id": "s_1", "user_task_description": "Put the message about train tickets away.", "steps": steps}
    (folder("agentnet") / "s_1.json").write_text(json.dumps(task, indent=1) + "\n")
    click = {"index": 0, "image": "desktop_mail.png", "value": {"code": f"pyautogui.rightClick({field})"}}
    write = {"index": 1, "image": "desktop_mail.png", "value": {"code": "pyautogui.hotkey(keys=['ctrl', 'v'])"}}
    line = {"task_id": "t_1", "instruction": "Paste what I copied into the search field.", "traj": [click, write]}
    (folder("agentnet") / "agentnet.jsonl").write_text(json.dumps(line) + "\n")


def grounding_sets(images: dict[str, bytes]) -> None:
    """The sets of elements alone."""

    def unit(screen: str, box: Box) -> list[float]:
        width, height = size_of(screen)
        return [box[0] / width, box[1] / height, box[2] / width, box[3] / height]

    def size_form(box: Box) -> list[int]:
        return [box[0], box[1], box[2] - box[0], box[3] - box[1]]

    desktop = "desktop_mail"
    write("os_atlas/desktop.json", [
        {"img_filename": f"{desktop}.png", "instruction": each.text, "bbox": unit(desktop, each.box)}
        for each in SCREENS[desktop]
    ])  # fmt: skip
    write("seeclick/seeclick_web.json", [{
        "img_filename": f"{desktop}.png", "url": "https://mail.invalid/",
        "elements": [
            {"instruction": each.text, "bbox": unit(desktop, each.box), "data_type": "text"}
            for each in SCREENS[desktop]
        ],
    }])  # fmt: skip
    write("screenspot/screenspot_mobile.json", [
        {
            "img_filename": "phone_list.png", "bbox": size_form(each.box), "instruction": each.purpose.lower(),
            "data_type": "icon" if each.kind == "icon" else "text", "data_source": "android",
        }
        for each in SCREENS["phone_list"][1:]
    ])  # fmt: skip
    write("screenspot_pro/mail_linux.json", [
        {
            "id": f"mail_{number}", "img_filename": f"{desktop}.png", "bbox": list(each.box),
            "img_size": list(DESKTOP),
            "instruction": each.purpose.lower(), "ui_type": "icon" if each.kind == "icon" else "text",
            "group": "Office", "application": "mail", "platform": "linux", "gt_type": "positive",
        }
        for number, each in enumerate(SCREENS[desktop])
    ] + [{
        "id": "mail_none", "img_filename": f"{desktop}.png", "bbox": [], "img_size": list(DESKTOP),
        "instruction": "empty the bin", "ui_type": "icon", "group": "Office", "application": "mail",
        "platform": "linux", "gt_type": "negative",
    }])  # fmt: skip
    x1, y1, x2, y2 = element(desktop, "Archive").box
    write("osworld_g/OSWorld-G.json", [
        {
            "id": "1", "image_path": f"{desktop}.png", "image_size": list(DESKTOP), "instruction": "Open the inbox",
            "box_type": "bbox", "box_coordinates": size_form(element(desktop, "Inbox").box),
        },
        {
            "id": "2", "image_path": f"{desktop}.png", "image_size": list(DESKTOP), "instruction": "Archive the mail",
            "box_type": "polygon", "box_coordinates": [x1, y1, x2, y1, x2, y2, x1, y2],
        },
        {
            "id": "3", "image_path": f"{desktop}.png", "image_size": list(DESKTOP), "instruction": "Open the calendar",
            "box_type": "refusal", "box_coordinates": [-1, -1, -1, -1],
        },
    ])  # fmt: skip
    write("mmbench_gui/L2_annotations.json", [
        {
            "index": number, "image_path": f"{desktop}.png", "image_size": list(DESKTOP), "bbox": list(each.box),
            "instruction": each.purpose, "platform": "os_linux", "app_name": "mail", "grounding_type": "basic",
            "data_type": "icon" if each.kind == "icon" else "text",
        }
        for number, each in enumerate(SCREENS[desktop])
    ])  # fmt: skip
    turns: list[dict[str, str]] = []
    for each in SCREENS[desktop]:
        numbers = ", ".join(str(round(value * 999)) for value in unit(desktop, each.box))
        turns += [{"from": "human", "value": each.purpose}, {"from": "gpt", "value": f"({numbers})"}]
    row = {"image": images[desktop], "width": DESKTOP[0], "height": DESKTOP[1], "conversations": json.dumps(turns)}
    pq.write_table(pa.Table.from_pylist([row]), folder("uground") / "shard_0000.parquet")
    rows = [
        {
            "image": {"bytes": images["phone_list"], "path": None}, "instruction": each.text,
            "bbox": [float(value) for value in each.box], "resolution": list(PHONE), "source": source,
            "platform": "mobile", "name": each.text, "description": each.purpose, "type": each.kind, "OCR": each.text,
            "language": "English", "purpose": each.purpose, "expectation": "",
        }
        for each, source in zip(
            SCREENS["phone_list"], ("webui", "roboflow", "groundui-18k", "webui", "webui"), strict=True
        )
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder("wave_ui") / "train-00000-of-00001.parquet")


def miniwob() -> None:
    """A ZIP file as the wheel of `miniwob` is, with a page of ours."""
    target = folder("miniwob")
    with zipfile.ZipFile(target / "miniwob-0.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in (("miniwob/click-test.html", "click-test.html"), ("core/core.js", "core.js")):
            archive.writestr(zipfile.ZipInfo(f"miniwob/html/{name}"), (target / path).read_bytes())


def folder(name: str) -> Path:
    """The folder of a format."""
    path = HERE / name
    path.mkdir(exist_ok=True)
    return path


def write(name: str, value: Any) -> None:
    """A file of JSON."""
    path = folder(name.partition("/")[0]) / name.partition("/")[2]
    path.write_text(json.dumps(value, indent=1) + "\n")


def main() -> None:
    """Write every set."""
    images = {name: png(render(name)) for name in SCREENS}
    for name, data in images.items():
        (folder("images") / f"{name}.png").write_bytes(data)
    android_control(images)
    aitw()
    mind2web(images)
    weblinx(images)
    gui_odyssey()
    amex()
    agentnet()
    grounding_sets(images)
    miniwob()


if __name__ == "__main__":
    main()
