"""`step3vl corpus view`: pages to browse and search a dataset, and to compare it with another build."""

from step3vl.pipelines.view.viewer.app import create_app
from step3vl.pipelines.view.viewer.serve import serve

__all__ = ["create_app", "serve"]
