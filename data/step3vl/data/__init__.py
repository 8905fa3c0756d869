"""The data contract: what a sample is and how it is tokenized, sharded, indexed, mixed and packed.

Every other package depends on this one; it depends on neither torch nor Beam.
"""
