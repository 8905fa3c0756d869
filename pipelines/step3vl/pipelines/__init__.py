"""Sources become samples, samples become a committed dataset: Beam moves records, Ray runs models.

Start with `corpus.py` (the build, step by step), then `core/steps.py` (what happens to one record), then
`domains/maps.py` (a whole domain).
"""

import logging

# Beam warns at its import that optional Google clients are absent; nothing here needs them. It is not imported here,
# for it takes a second and 170 MB, which workers that only run steps do without.
logging.root.addFilter(lambda record: not record.getMessage().startswith("apitools not found"))
