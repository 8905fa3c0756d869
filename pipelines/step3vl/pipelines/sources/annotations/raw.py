"""An image's annotations as its file has them, with the convention of their coordinates, not yet checked."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import Field

from step3vl.data.config import Config
from step3vl.pipelines.core.steps import rng_for
from step3vl.pipelines.grounding.conventions import BoxFormat, Order, Unit
from step3vl.pipelines.grounding.records import Subject

MALFORMED = (ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError)
"""What reading a record may raise that is malformed in any way, such as an infinite size."""
_ABSENT = 12  # labels that an image keeps of those that it lacks; a set may have 365


class RawObject(Config):
    """One object, in the order and unit of its image."""

    label: str
    box: tuple[float, ...] = ()
    """Empty, or four numbers."""
    polygons: tuple[tuple[float, ...], ...] = ()
    """x and y of each corner in turn."""
    point: tuple[float, ...] = ()
    """Empty, or x and y."""
    phrases: tuple[str, ...] = ()
    """Written so that they fit this object alone."""
    descriptions: tuple[str, ...] = ()
    """Written about it; they may fit others as well."""
    attributes: dict[str, str] = Field(default_factory=dict)
    count: int = 1
    """How many of the label are in the box."""
    ignored: str = ""
    """Why it is only a region to ignore, such as `crowd`."""


class RawImage(Config):
    """An image's annotations."""

    name: str
    """What the set calls the image: a path, or an id."""
    size: tuple[int, int] | None = None
    """Width and height that the coordinates refer to, where the file says."""
    order: Order
    unit: Unit
    objects: tuple[RawObject, ...]
    complete: tuple[str, ...] = ()
    """Labels of which every instance is annotated."""
    absent: tuple[str, ...] = ()
    """Labels of which there is none in the image."""
    reach: float = 0.0
    """How far from an annotated point a point still counts, in `unit`, where the set gives a size of its objects."""
    sha256: str = ""
    """Of the image's bytes, where the set says."""

    @property
    def box_format(self) -> BoxFormat:
        """What the four numbers of a box mean."""
        return BoxFormat(self.order, self.unit)


Piece = tuple[str, Any]
"""The name of an image, and something of it that JSON can hold. Without a name it belongs to every image."""


class AnnotationFormat(Protocol):
    """How a kind of annotation file is read: piece by piece, then image by image.

    A file may name the same image in many places. So a format only says which image each piece belongs to, in one
    pass of bounded memory; `grouping` brings the pieces of an image together, and `assemble` makes one record of them.
    """

    SUBJECT: ClassVar[Subject]
    """What the images are."""
    TABLES: ClassVar[tuple[str, ...]]
    """Other files that it needs, by role, such as `classes`."""

    def __init__(self, tables: Mapping[str, Path]) -> None: ...

    def pieces(self, path: Path, name: str) -> Iterator[Piece]:
        """The pieces of a file.

        Args:
            path: On this machine.
            name: The key of the file, for formats with a file for each image.

        Raises:
            ValueError: The file is damaged, or of another format.
        """

    def assemble(self, name: str, pieces: Sequence[Any]) -> RawImage:
        """The annotations of an image.

        Args:
            name: Of the image.
            pieces: In the order of the file.

        Raises:
            Dropped: The image is unwanted, such as one of a test set.
            ValueError: Its annotations are malformed.
        """


def absent_labels(name: str, vocabulary: Sequence[str], present: Sequence[str]) -> tuple[str, ...]:
    """Some labels of a vocabulary that an image lacks, chosen by its name.

    Args:
        name: Of the image.
        vocabulary: Labels of which a set annotates every instance.
        present: Those that the image has, or may have.
    """
    missing = sorted(set(vocabulary) - set(present))
    return tuple(sorted(rng_for("absent labels", name).sample(missing, min(_ABSENT, len(missing)))))
