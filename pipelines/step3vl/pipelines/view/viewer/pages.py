"""HTML from templates that escape everything, and the addresses of pages."""

import json
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from fastapi.responses import HTMLResponse
from jinja2 import Environment

from step3vl.pipelines.curation.evidence import amount
from step3vl.pipelines.view.page import html_environment


def address(path: str, *parts: Any, **parameters: Any) -> str:
    """The address of a page, without parameters that are empty, and without `build` where that is `this`."""
    filled = {
        name: value
        for name, value in parameters.items()
        if value not in (None, "") and (name, value) != ("build", "this")
    }
    joined = "/".join([path, *(quote(str(part), safe="") for part in parts)])
    return f"{joined}?{urlencode(filled)}" if filled else joined


def page(name: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page from its template.

    Args:
        name: Of the template, without `.html.j2`.
        status: Of the response.
        **values: Of the template.
    """
    return HTMLResponse(_environment().get_template(f"{name}.html.j2").render(values), status)


@cache
def _environment() -> Environment:
    environment = html_environment("step3vl.pipelines.view.viewer")
    environment.globals["address"] = address
    environment.filters |= {
        "count": lambda number: f"{number:,}",
        "amount": amount,
        "score": lambda value: f"{value:.3g}",
        "json": lambda value: json.dumps(value, indent=1, ensure_ascii=False),
    }
    return environment
