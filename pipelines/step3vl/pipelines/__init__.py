"""Sources become samples, samples become a committed dataset: Beam moves records, Ray runs models.

Start with `corpus.py` (the build, step by step), then `core/steps.py` (what happens to one record), then
`domains/maps.py` (a whole domain).
"""

import logging

# At import Beam warns that optional Google clients are absent; nothing here needs them.
_level = logging.root.manager.disable
logging.disable(logging.WARNING)
import apache_beam  # noqa: E402, F401

logging.disable(_level)
