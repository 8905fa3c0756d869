"""What every domain builds on: records and workers, Beam and Ray, staging, the sink."""
