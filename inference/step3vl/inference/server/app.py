"""The routes: OpenAI's endpoints over the backends, health, metrics and the playground."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from step3vl.inference.client import Backend
from step3vl.inference.server.config import ServerConfig
from step3vl.inference.server.errors import ApiError
from step3vl.inference.server.middleware import RequestMiddleware
from step3vl.inference.server.protocol import validation_error
from step3vl.inference.server.responses import Json
from step3vl.inference.server.service import Service

PLAYGROUND = Path(__file__).with_name("playground")
CONTENT_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types dompurify",  # the playground's sanitiser alone makes elements of text
    )
)


def create_app(backends: Mapping[str, Backend], config: ServerConfig | None = None) -> FastAPI:
    """Create the ASGI application.

    Args:
        backends: The backend of each model name; every name is also served at each PaCoRe level. The backends are
            closed with the app.
        config: The server's limits, by default those of `ServerConfig()`.

    Returns:
        The application. `app.state.service` is its `Service`, whose `drain()` refuses new requests.
    """
    config = config or ServerConfig()
    service = Service(backends, config)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close()

    app = FastAPI(title="step3vl", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    app.add_middleware(RequestMiddleware, config=config, metrics=service.metrics, requires_key=requires_key)
    if config.cors_origins:
        # Added last, so around all else: refusals carry the headers too, and preflights need no key.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=("*",),
            expose_headers=("Retry-After", "X-Request-ID"),
        )
    _add_error_handlers(app)
    _add_api_routes(app, service)
    _add_other_routes(app, service)
    return app


def requires_key(path: str) -> bool:
    """Whether a path needs an API key: whatever reaches a model or lists them."""
    return path.startswith(("/v1/", "/tokenize"))


def is_json(content_type: str) -> bool:
    """Whether a Content-Type is that of a JSON body."""
    subtype = content_type.partition(";")[0].strip().lower().removeprefix("application/")
    return subtype == "json" or subtype.endswith("+json")


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def api_error(request: HttpRequest, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid_request(request: HttpRequest, error: RequestValidationError) -> Response:
        content_type = request.headers.get("content-type", "")
        if not is_json(content_type):
            seen = f"not {content_type[:100]!r}" if content_type else "and there is none"
            return ApiError(400, f"the body needs the header Content-Type: application/json, {seen}").response()
        return validation_error(error.errors()).response()

    @app.exception_handler(HTTPException)
    async def http_error(request: HttpRequest, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path}: {error.detail}"
        response = ApiError(error.status_code, message).response()
        response.headers.update(error.headers or {})
        return response


def _add_api_routes(app: FastAPI, service: Service) -> None:
    # The routes take plain objects: which fields a body may have depends on the backend of its model.
    @app.post("/v1/chat/completions")
    async def chat(body: Json, request: HttpRequest) -> Response:
        return await service.chat(body, request.state.key)

    @app.post("/v1/completions")
    async def completions(body: Json, request: HttpRequest) -> Response:
        return await service.complete(body, request.state.key)

    @app.post("/tokenize")
    async def tokenize(body: Json, request: HttpRequest) -> Response:
        return await service.tokenize(body, request.state.key)

    @app.get("/v1/models")
    async def models() -> Response:
        return JSONResponse({"object": "list", "data": await service.models()})

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> Response:
        entries = {entry["id"]: entry for entry in await service.models()}
        if name not in entries:
            await service.find(name)  # or it is a 404
        return JSONResponse(entries.get(name, {"id": name, "object": "model"}))


def _add_other_routes(app: FastAPI, service: Service) -> None:
    @app.get("/health")
    async def health() -> Response:
        state, status = ("draining", 503) if service.draining else ("ok", 200)
        counts = {"running": service.admission.running, "waiting": service.admission.waiting}
        return JSONResponse({"status": state, **counts}, status)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", include_in_schema=False)
    async def playground() -> Response:
        return FileResponse(PLAYGROUND / "index.html", headers={"Content-Security-Policy": CONTENT_POLICY})

    app.mount("/playground", StaticFiles(directory=PLAYGROUND))
