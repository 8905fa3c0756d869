"""Encoded images appended to a part file, so that rows carry pointers instead of bytes."""

import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from step3vl.data.sample.parts import Image, Pointer


class ImagePartWriter:
    """Appends encoded images to one new file, which is created when the first image arrives.

    Args:
        path: The file; it must not exist.
        durable: Whether `close` waits until the bytes are on the disk.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self._path = path
        self._durable = durable
        self._file: BinaryIO | None = None
        self._offset = 0

    def stage(self, image: Image) -> Image:
        """The image with a pointer to its bytes; an image that already has a pointer is returned unchanged."""
        if image.data is None:
            return image
        if self._file is None:
            self._file = self._path.open("xb", buffering=1 << 20)
        pointer = Pointer(path=str(self._path), offset=self._offset, size=len(image.data))
        self._offset += self._file.write(image.data)
        return image.stored_at(pointer)

    def flush(self) -> None:
        """Make all staged images readable through their pointers."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        if self._file is None:
            return
        with self._file:  # which is closed also when the disk is full
            self._file.flush()
            if self._durable:
                os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
