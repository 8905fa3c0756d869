"""The contract: what a sample is, how it is tokenised, sharded, indexed, mixed and packed.

Everything else in the house depends on this package; it depends on neither torch nor Beam.
"""
