"""Questions about scenes of icons: colours, counts, and where things are."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from step3vl.pipelines.domains.vqa_questions.distractors import near_counts, shuffled
from step3vl.pipelines.domains.vqa_questions.frames import ABSENT
from step3vl.pipelines.domains.vqa_questions.turns import Draft, Language
from step3vl.pipelines.grounding.names import colour_name, name, plural
from step3vl.pipelines.grounding.referring import Place, Undecided, outermost
from step3vl.pipelines.grounding.relations import RELATIONS
from step3vl.pipelines.render.scenes.scene import PlacedIcon

_APART = 0.08  # of the image's side; what is closer together has no direction
_PLACES: tuple[Place, ...] = ("leftmost", "rightmost", "topmost", "bottommost")
_DIRECTIONS = {
    "en": {"left": "to the left", "right": "to the right", "up": "above", "down": "below"},
    "zh": {"left": "左边", "right": "右边", "up": "上边", "down": "下边"},
}


class SceneQuestions:
    """Asks about one scene.

    Args:
        placed: What is in it.
        read: The same as it was read back from the pixels, by which every answer is computed again.
        icons: Names of all icons that there might be.
        colours: Names of all colours that there might be.
        on_photo: Whether the background shows things of its own, so that a cat is not yet a cat icon.
        language: Of the questions.
        rng: Chooses what is asked.
    """

    def __init__(
        self,
        placed: Sequence[PlacedIcon],
        read: Sequence[PlacedIcon],
        icons: Sequence[str],
        colours: Sequence[str],
        on_photo: bool,
        language: Language,
        rng: random.Random,
    ) -> None:
        self._placed, self._read, self._icons, self._colours = placed, read, icons, colours
        self._language, self._rng, self._on_photo = language, rng, on_photo
        self._counts = Counter(item.icon for item in placed)
        self._single = [index for index, item in enumerate(placed) if self._counts[item.icon] == 1]

    def kinds(self) -> dict[str, Callable[[], Draft | None]]:
        """The kinds of questions that suit the scene, each with what makes one: None where chance finds none."""
        kinds: dict[str, Callable[[], Draft | None]] = {
            "icon_count": self._icon_count,
            "coloured_count": self._coloured_count,
            "all_count": lambda: self._counted("all_count", len(self._placed), len(self._read)),
            "exists": self._exists,
            "absent_object": self._absent,
        }
        if len(self._placed) > 1:
            kinds |= {kind: partial(self._outermost, kind) for kind in _PLACES}
        if self._single:
            kinds["colour"] = self._colour
        if len(self._single) > 1:
            kinds |= {
                "is_left": lambda: self._is_beside("is_left"),
                "is_above": lambda: self._is_beside("is_above"),
                "direction": self._direction,
                "larger": self._larger,
                "same_colour": self._same_colour,
            }
        if len(self._counts) > 1 and len(self._placed) > len(self._counts):
            kinds["more"] = self._more
        return kinds

    def _colour(self) -> Draft:
        index = self._rng.choice(self._single)
        item = self._placed[index]
        self._check(item.colour, self._read[index].colour)
        wrong = [colour_name(name, self._language) for name in self._colours if name != item.colour]
        answer = colour_name(item.colour, self._language)
        return Draft("colour", {"icon": self._icon_name(item.icon)}, answer, "text", shuffled(wrong, self._rng))

    def _absent(self) -> Draft | None:
        missing = [name for name in self._icons if not self._counts[name]]
        if not missing:
            return None
        name = self._rng.choice(missing)
        self._check(0, sum(item.icon == name for item in self._read))
        values = {"icon": self._icon_name(name)}
        return Draft("absent_object", values, ABSENT[self._language], "text", answerable=False)

    def _icon_count(self) -> Draft:
        missing = [name for name in self._icons if not self._counts[name]]
        several = [name for name, count in self._counts.items() if count > 1]
        names = several if several and self._rng.random() < 0.6 else list(self._counts)
        name = self._rng.choice(missing if missing and self._rng.random() < 0.08 else names)
        again = sum(item.icon == name for item in self._read)
        label = self._icon_name(name)
        values = {"icon": label, "icons": plural(name) if label == name else f"{label}s"}
        return self._counted("icon_count", self._counts[name], again, **values)

    def _coloured_count(self) -> Draft:
        colour = self._rng.choice([item.colour for item in self._placed])
        count = sum(item.colour == colour for item in self._placed)
        again = Counter(item.colour for item in self._read)[colour]
        return self._counted("coloured_count", count, again, colour=colour_name(colour, self._language))

    def _counted(self, kind: str, count: int, again: int, **values: str) -> Draft:
        self._check(count, again)
        return Draft(kind, values, str(count), "count", near_counts(count, self._rng))

    def _outermost(self, kind: Place) -> Draft | None:
        try:
            first, again = (outermost([item.box for item in items], kind) for items in (self._placed, self._read))
        except Undecided:
            return None
        item = self._placed[first]
        self._check((item.icon, item.colour), (self._read[again].icon, self._read[again].colour))
        wrong = [self._name(name) for name in self._counts if name != item.icon]
        return Draft(kind, {}, self._name(item.icon), "text", shuffled(wrong, self._rng))

    def _related(self, kind: Literal["is_left", "is_above", "larger"]) -> tuple[int, int, bool | int] | None:
        """Two icons and how they lie or compare; None where that, or how it is read back, is not clear."""
        first, second = self._rng.sample(self._single, 2)
        decide = RELATIONS[kind].decide
        answer, again = (decide(items[first].box, items[second].box) for items in (self._placed, self._read))
        if answer is None or again is None:
            return None
        self._check(answer, again)
        return first, second, answer

    def _is_beside(self, kind: Literal["is_left", "is_above"]) -> Draft | None:
        related = self._related(kind)
        if related is None:
            return None
        first, second, answer = related
        return Draft(kind, self._pair(first, second), "yes" if answer else "no", "yes_no")

    def _direction(self) -> Draft | None:
        """One of four directions, where the two icons are clearly beside or clearly above each other."""
        first, second = self._rng.sample(self._single, 2)
        direction = _direction_of(self._placed[first], self._placed[second])
        if direction is None:
            return None
        self._check(direction, _direction_of(self._read[first], self._read[second]))
        names = _DIRECTIONS[self._language]
        sides = self._rng.sample(list(names.values()), 4)
        choices = (
            "、".join(sides[:-1]) + "还是" + sides[-1]
            if self._language == "zh"
            else f"{', '.join(sides[:-1])} or {sides[-1]}"
        )
        wrong = tuple(name for name in sides if name != names[direction])
        return Draft("direction", {**self._pair(first, second), "choices": choices}, names[direction], "text", wrong)

    def _larger(self) -> Draft | None:
        related = self._related("larger")
        if related is None:
            return None
        first, second, answer = related
        names = [self._name(self._placed[index].icon) for index in (first, second)]
        return Draft("larger", self._pair(first, second), names[answer], "text", (names[1 - answer],))

    def _same_colour(self) -> Draft | None:
        """As often yes as no, where there are pairs of both kinds."""
        pairs = [(a, b) for a in self._single for b in self._single if a < b]
        want = self._rng.random() < 0.5
        fitting = [(a, b) for a, b in pairs if (self._placed[a].colour == self._placed[b].colour) == want]
        first, second = self._rng.choice(fitting or pairs)
        same = self._placed[first].colour == self._placed[second].colour
        self._check(same, self._read[first].colour == self._read[second].colour)
        return Draft("same_colour", self._pair(first, second), "yes" if same else "no", "yes_no")

    def _exists(self) -> Draft | None:
        """An icon in its colour, or one that is there only in another colour, or not at all."""
        there = {(item.icon, item.colour) for item in self._placed}
        icon, colour = self._rng.choice(sorted(there))
        if self._rng.random() < 0.5:
            if self._rng.random() < 0.7:
                colours = [other for other in self._colours if (icon, other) not in there]
                if not colours:
                    return None
                colour = self._rng.choice(colours)
            else:
                icon = self._rng.choice(list(self._icons))
        is_there = (icon, colour) in there
        self._check(is_there, any(item.icon == icon and item.colour == colour for item in self._read))
        name, hue = self._icon_name(icon), colour_name(colour, self._language)
        article = "an" if hue[0] in "aeiou" else "a"
        values = {"icon": name, "colour": hue, "a_coloured": f"{article} {hue} {name}"}
        return Draft("exists", values, "yes" if is_there else "no", "yes_no")

    def _more(self) -> Draft | None:
        first, second = self._rng.sample(sorted(self._counts), 2)
        if self._counts[first] == self._counts[second]:
            return None
        more = self._counts[first] > self._counts[second]
        again = Counter(item.icon for item in self._read)
        self._check(more, again[first] > again[second])
        names = [name if self._language == "zh" else plural(name) for name in (first, second)]
        if self._language == "zh":
            names = [self._name(name) for name in names]
        return Draft("more", {"first": names[0], "second": names[1]}, "yes" if more else "no", "yes_no")

    def _pair(self, first: int, second: int) -> dict[str, str]:
        return {"first": self._name(self._placed[first].icon), "second": self._name(self._placed[second].icon)}

    def _name(self, icon: str) -> str:
        return name(icon, self._language)

    def _icon_name(self, icon: str) -> str:
        """The name in questions that depend on what else there is: `cat`, or `cat icon` where there may be a cat."""
        if not self._on_photo and self._rng.random() < 0.6:
            return self._name(icon)
        return name(f"{icon} icon", self._language)

    def _check(self, answer: object, again: object) -> None:
        if answer != again:
            raise ValueError(f"the answer is {answer}, and by the pixels {again}")


def _centre(item: PlacedIcon) -> tuple[float, float]:
    """The centre as fractions of the image."""
    box = item.box.milli()
    return (box[0] + box[2]) / 2000, (box[1] + box[3]) / 2000


def _direction_of(first: PlacedIcon, second: PlacedIcon) -> str | None:
    """Where the first is from the second; None where it is as much beside as above or below it."""
    (x1, y1), (x2, y2) = _centre(first), _centre(second)
    across, down = x1 - x2, y1 - y2
    if abs(across) > 2 * abs(down) and abs(across) >= _APART:
        return "left" if across < 0 else "right"
    if abs(down) > 2 * abs(across) and abs(down) >= _APART:
        return "up" if down < 0 else "down"
    return None
