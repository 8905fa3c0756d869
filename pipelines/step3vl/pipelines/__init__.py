"""Sources become samples, samples become a committed dataset: Beam moves records, Ray runs models.

Start with `corpus.py` (the build in phases), then `steps.py` (what happens to one record), then a file of `domains/`.
"""

import logging

_level = logging.root.manager.disable
logging.disable(
    logging.WARNING
)  # at import Beam warns that optional Google clients are absent; nothing here needs them
import apache_beam  # noqa: E402, F401

logging.disable(_level)
