"""Whether actions fit the screenshots before and after them: part of the label check of screens.

A scroll moves the view its way, and a text that is typed stands where little else changed. What a click does can be
anything, so all that is told of one is that no text was typed instead.
"""

import re
from itertools import pairwise

from PIL import Image as PILImage

from step3vl.data.sample import Action, OptionTruth, Sample, parse_action
from step3vl.data.sample.parts import TextPart
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.gui.screen_changes import changed_box, scrolled_down
from step3vl.pipelines.models.text_finder import TextFinder

_SMALL = 0.1  # of a screen's area: where more changed, a text that stands there need not have been typed
_DOWN, _UP = ("scroll down", "向下滚动"), ("scroll up", "向上滚动")
_TYPED = re.compile(r"^(?:type “([^”]+)”|在.*中?输入“([^”]+)”)")
Screens = tuple[PILImage.Image, PILImage.Image]


def reason_of_change(sample: Sample, reader: TextFinder) -> str | None:
    """None where the action that was chosen is seen to lead from the first screenshot to the second.

    Args:
        sample: Of `gui.knowledge.happened`.
        reader: Reads what was typed.

    Raises:
        Unchecked: The pixels do not tell it from the other options.
    """
    assert isinstance(sample.truth, OptionTruth)
    first, second = (image.open().convert("RGB") for image in sample.images)
    right = _described(sample.truth.option)
    others = [_described(option) for option in sample.truth.options if option != sample.truth.option]
    verdict = _verdict((first, second), right, reader)
    if verdict is not None:
        return None if verdict else "another_change"
    # A click may lead to a page that is scrolled, so only what a field alone shows speaks against one.
    rivals = [other for other in others if other.action == "type" or right.action == "type"]
    if any(_verdict((first, second), other, reader) for other in rivals):
        return "another_action"
    raise Unchecked("told_by_other_means")


def reason_of_steps(sample: Sample, reader: TextFinder) -> str | None:
    """None where some actions of a trajectory are seen to lead from each screenshot to the next, and none is not.

    Raises:
        Unchecked: No action is told by the pixels.
    """
    texts = [
        part.text
        for message in sample.messages or ()
        if message.role == "assistant"
        for part in message.content
        if isinstance(part, TextPart)
    ]
    actions = [action for action in map(parse_action, texts) if action is not None]
    if len(actions) != len(sample.images):
        raise Unchecked("nothing_to_read")
    screens = [image.open().convert("RGB") for image in sample.images]
    verdicts = [_verdict(pair, action, reader) for pair, action in zip(pairwise(screens), actions[:-1], strict=True)]
    if actions[-1].text and reader.is_on(screens[-1], actions[-1].text):
        verdicts.append(True)  # the answer of a question
    if False in verdicts:
        return "another_change"
    if True not in verdicts:
        raise Unchecked("told_by_other_means")
    return None


def _described(option: str) -> Action:
    """The action of an option such as: B. type “42” into the text field “Amount”."""
    text = option.partition(". ")[2]
    if text.endswith((*_DOWN, *_UP)):
        return Action(action="scroll", direction="down" if text.endswith(_DOWN) else "up")
    if match := _TYPED.match(text):
        return Action(action="type", text=match[1] or match[2])
    return Action(action="click", point_2d=(0, 0))


def _verdict(screens: Screens, action: Action, reader: TextFinder) -> bool | None:
    """Whether two screenshots differ as an action makes them; None where that cannot be told."""
    if action.action == "scroll":
        down = scrolled_down(*screens)
        return None if down is None else (down > 0) == (action.direction == "down")
    box = changed_box(*screens)
    if action.action != "type" or box is None or box.area > _SMALL * screens[1].width * screens[1].height:
        return None
    try:
        return reader.reads(screens[1], box, action.text or "") or None
    except Unchecked:
        return None
