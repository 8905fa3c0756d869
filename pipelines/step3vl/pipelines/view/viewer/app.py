"""The routes of the viewer. Every page is HTML from a template that escapes; no script is needed to read it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles

from step3vl.data.config import explain_validation_error
from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.inspect.tables import RIGHT_ALIGNED, cell
from step3vl.pipelines.view.viewer.build import Filter
from step3vl.pipelines.view.viewer.changes import ChangeKind
from step3vl.pipelines.view.viewer.images import for_browsers
from step3vl.pipelines.view.viewer.listing import list_item
from step3vl.pipelines.view.viewer.pages import address, page
from step3vl.pipelines.view.viewer.rendered import POLICY, rendered_page
from step3vl.pipelines.view.viewer.sample_page import differences, sample_page, text_of
from step3vl.pipelines.view.viewer.scan import Malformed, Missing, Place
from step3vl.pipelines.view.viewer.viewer import SECONDS, Viewer

STATIC = Path(__file__).with_name("static")
SAMPLES = 24  # of a page
RECORDS = 100  # of a page: dead letters, evidence
CHANGES = 25  # of a page
CLUSTERS = 24  # of a page
_HOSTS = ["127.0.0.1", "localhost"]  # a web page whose host name leads to this machine must not read samples
CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "img-src 'self'",
        "style-src 'self'",
        "script-src 'self'",
        "frame-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


def create_app(dataset: Dataset, other: Dataset | None = None, seconds: float = SECONDS) -> FastAPI:
    """Create the ASGI application.

    Args:
        dataset: The dataset to browse.
        other: Another build of it, to compare with.
        seconds: After which a search stops, so that its page has what there is and offers to continue.

    Raises:
        UserError: A dataset is damaged.
        StoreError: A store does not answer.
    """
    viewer = Viewer(dataset, other, seconds)
    app = FastAPI(title="step3vl corpus view", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS)
    app.middleware("http")(_secure)
    app.state.viewer = viewer
    _add_errors(app, viewer)
    _add_samples(app, viewer)
    _add_contents(app, viewer)
    _add_overviews(app, viewer)
    _add_drops(app, viewer)
    app.mount("/static", StaticFiles(directory=STATIC))
    return app


async def _secure(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await proceed(request)
    response.headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return response


def _add_errors(app: FastAPI, viewer: Viewer) -> None:
    def failed(status: int, message: str) -> Response:
        return page("error", status, viewer=viewer, build="this", message=message)

    @app.exception_handler(HTTPException)
    async def no_page(request: Request, error: HTTPException) -> Response:
        return failed(error.status_code, f"There is no page {request.url.path}.")

    @app.exception_handler(Missing)
    async def missing(request: Request, error: Missing) -> Response:
        return failed(404, str(error))

    @app.exception_handler(Malformed)
    async def malformed(request: Request, error: Malformed) -> Response:
        return failed(400, str(error))

    @app.exception_handler(RequestValidationError)
    async def malformed_parameter(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return failed(400, f"{first['loc'][-1]}: {first['msg']}")

    @app.exception_handler(UserError)
    async def damaged(request: Request, error: UserError) -> Response:
        return failed(500, str(error))


def _filter(request: Request) -> Filter:
    """The filter that an address names. Raises Malformed."""
    query = request.query_params
    try:
        return Filter.model_validate({name: query[name] for name in Filter.model_fields if query.get(name)})
    except ValidationError as error:
        raise Malformed(explain_validation_error(error)) from None


def _place(text: str) -> Place | None:
    return Place.parse(text) if text else None


def _add_samples(app: FastAPI, viewer: Viewer) -> None:
    @app.get("/")
    def listing(request: Request, build: str = "this", at: str = "", back: bool = False) -> Response:
        query, opened = _filter(request), viewer.build(build)
        listed, result = opened.search(query, _place(at), SAMPLES, viewer.seconds, backward=back)
        items = [list_item(opened, item) for item in listed]
        return page(
            "listing",
            viewer=viewer,
            build=build,
            query=query,
            parameters=_parameters(build, query),
            items=items,
            score_names=sorted({name for item in items for name in item.scores}),
            result=result,
            at=at,
        )

    @app.get("/sample/{sample_id}")
    def sample(request: Request, sample_id: str, build: str = "this") -> Response:
        query = _filter(request)
        name, item = viewer.find(build, sample_id)
        return page(
            "sample",
            viewer=viewer,
            build=name,
            query=query,
            parameters=_parameters(name, query),
            place=item.row.place,
            source=item.row.values["source"],
            sample=sample_page(viewer.build(name), item),
        )

    @app.get("/step")
    def step(request: Request, at: str, build: str = "this", back: bool = False) -> Response:
        """The next sample of a filter, or the one before."""
        query, place = _filter(request), Place.parse(at)
        start = place if back else Place(place.part, place.row + 1)
        items, result = viewer.build(build).search(query, start, 1, viewer.seconds, backward=back)
        parameters = _parameters(build, query)
        if items:
            return RedirectResponse(address("/sample", items[0].row.values["id"], **parameters), 303)
        rest = result.before if back else result.after
        return RedirectResponse(address("/", **parameters, at=rest or at, back="1" if back else ""), 303)


def _parameters(build: str, query: Filter) -> dict[str, Any]:
    """The parameters of an address that keep the build and the filter."""
    return {"build": build, **query.model_dump(exclude_defaults=True)}


def _add_contents(app: FastAPI, viewer: Viewer) -> None:
    @app.get("/image/{build}/{shard}/{offset}/{size}")
    def image(build: str, shard: int, offset: int, size: int) -> Response:
        data, media_type = for_browsers(viewer.build(build).image(shard, offset, size))
        return Response(data, media_type=media_type)

    @app.get("/rendered/{sample_id}/{number}")
    def rendered(sample_id: str, number: int, build: str = "this") -> Response:
        """A text of a sample as a page of its own, which runs nothing and loads nothing."""
        _, item = viewer.find(build, sample_id)
        content = rendered_page(text_of(item, number))
        if content is None:
            raise Missing(f"text {number} of sample {sample_id} is nothing that can be rendered")
        return Response(content, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": POLICY})


def _add_overviews(app: FastAPI, viewer: Viewer) -> None:
    @app.get("/contents")
    def contents(build: str = "this") -> Response:
        viewer.build(build)
        sections = viewer.contents[build].poll(viewer.seconds)
        return page("contents", viewer=viewer, build=build, sections=sections, right_aligned=RIGHT_ALIGNED, cell=cell)

    @app.get("/changes")
    def changes(kind: ChangeKind = "added", start: Annotated[int, Query(ge=0)] = 0) -> Response:
        if viewer.changes is None:
            raise Missing("There is no other build; --compare opens one.")
        result, rows = viewer.changes.poll(viewer.seconds), []
        if result is not None:
            chosen = result.page(kind, start, CHANGES)
            before = viewer.builds["other"].rows(change.before for change in chosen)
            after = viewer.builds["this"].rows(change.after for change in chosen)
            rows = list(zip(before, after, strict=True))
        return page(
            "changes", viewer=viewer, build="this", changes=result, kind=kind, rows=rows, start=start, size=CHANGES
        )

    @app.get("/pair")
    def pair(left: str, right: str, build: str = "this") -> Response:
        """Two samples side by side, of whichever build has them."""
        items = [viewer.find(build, sample_id) for sample_id in (left, right)]
        sides = [(name, sample_page(viewer.build(name), item)) for name, item in items]
        difference = differences(*(sample for _, sample in sides))
        return page("pair", viewer=viewer, build=build, sides=sides, difference=difference)


def _add_drops(app: FastAPI, viewer: Viewer) -> None:
    @app.get("/drops")
    def drops(build: str = "this", step: str = "", reason: str = "", text: str = "", at: str = "") -> Response:
        viewer.build(build)
        result = viewer.drops[build].dead_letters(step, reason, text, _place(at), RECORDS, viewer.seconds)
        chosen = {"build": build, "step": step, "reason": reason, "text": text}
        return page(
            "drops", viewer=viewer, build=build, drops=viewer.drops[build], parameters=chosen, result=result, at=at
        )

    @app.get("/evidence")
    def evidence(
        build: str = "this", step: str = "", reason: str = "", id: str = "", matched_id: str = "", at: str = ""
    ) -> Response:
        viewer.build(build)
        values = {"step": step, "reason": reason, "id": id, "matched_id": matched_id}
        result = viewer.drops[build].evidence(values, _place(at), RECORDS, viewer.seconds)
        chosen = {"build": build, **values}
        return page(
            "evidence", viewer=viewer, build=build, drops=viewer.drops[build], parameters=chosen, result=result, at=at
        )

    @app.get("/clusters")
    def clusters(build: str = "this", start: Annotated[int, Query(ge=0)] = 0) -> Response:
        opened = viewer.build(build)
        result = viewer.clusters[build].poll(viewer.seconds)
        chosen = result.largest[start : start + CLUSTERS] if result else []
        rows = [opened.find(cluster.id) for cluster in chosen]
        kept = iter(opened.read([row for row in rows if row is not None]))
        entries = [
            (cluster, None if row is None else list_item(opened, next(kept)))
            for cluster, row in zip(chosen, rows, strict=True)
        ]
        return page(
            "clusters", viewer=viewer, build=build, clusters=result, entries=entries, start=start, size=CLUSTERS
        )
