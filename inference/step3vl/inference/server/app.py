"""The routes: OpenAI's endpoints over the backends, health, metrics and the playground."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from step3vl.inference.backend import Backend
from step3vl.inference.server.api import ChatBody, CompletionBody, TokenizeBody, refuse
from step3vl.inference.server.config import ServerConfig
from step3vl.inference.server.errors import ApiError
from step3vl.inference.server.gate import Gate
from step3vl.inference.server.service import Service

PLAYGROUND = Path(__file__).with_name("playground")
CONTENT_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


def create_app(backends: Mapping[str, Backend], config: ServerConfig | None = None) -> FastAPI:
    """The ASGI application. Each name is a model, with its PaCoRe levels; the backends are closed with the app.

    `app.state.service` counts what runs, and `drain()` on it refuses new work while what runs is finished.
    """
    config = config or ServerConfig()
    service = Service(backends, config)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close()

    app = FastAPI(title="step3vl", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    app.add_middleware(Gate, config=config, metrics=service.metrics, guarded=is_guarded)
    _add_errors(app)
    _add_api(app, service)
    _add_pages(app, service)
    return app


def is_guarded(path: str) -> bool:
    """Whether a path asks for an API key: whatever reaches a model or names one."""
    return path.startswith(("/v1/", "/tokenize"))


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def refused(request: HttpRequest, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: HttpRequest, error: RequestValidationError) -> Response:
        return refuse(error.errors()).response()

    @app.exception_handler(HTTPException)
    async def unrouted(request: HttpRequest, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path}: {error.detail}"
        response = ApiError(error.status_code, message).response()
        response.headers.update(error.headers or {})
        return response


def _add_api(app: FastAPI, service: Service) -> None:
    @app.post("/v1/chat/completions")
    async def chat(body: ChatBody, request: HttpRequest) -> Response:
        return await service.chat(body, request.state.key)

    @app.post("/v1/completions")
    async def completions(body: CompletionBody, request: HttpRequest) -> Response:
        return service.complete(body, request.state.key)

    @app.post("/tokenize")
    async def tokenize(body: TokenizeBody) -> Response:
        return JSONResponse(await service.tokenize(body))

    @app.get("/v1/models")
    async def models() -> Response:
        return JSONResponse({"object": "list", "data": service.models()})

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> Response:
        service.find(name)  # or it is a 404
        return JSONResponse(next(model for model in service.models() if model["id"] == name))


def _add_pages(app: FastAPI, service: Service) -> None:
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
