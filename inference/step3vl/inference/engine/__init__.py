"""Generation in this process with torch: the engine, its jobs, and the backend over it."""

from step3vl.inference.engine.backend import EngineBackend
from step3vl.inference.engine.engine import Engine
from step3vl.inference.engine.job import Job

__all__ = ["Engine", "EngineBackend", "Job"]
