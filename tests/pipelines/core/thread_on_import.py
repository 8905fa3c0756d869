"""A module that starts a thread when it is imported, which a fork would lose."""

import os
import threading
from collections.abc import Callable
from typing import Any

IMPORTED_BY = os.getpid()

threading.Thread(target=threading.Event().wait, daemon=True).start()


def load() -> Callable[[Any], Any]:
    return lambda _: (IMPORTED_BY, os.getpid(), threading.active_count())
