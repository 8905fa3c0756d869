"""What all tests share: property tests are not timed, for a loaded machine is slow now and then."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
