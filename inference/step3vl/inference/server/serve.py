"""Running the server: uvicorn, and an end that lets what runs be finished."""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Mapping
from types import FrameType

import uvicorn

from step3vl.data.errors import UserError
from step3vl.inference.backend import Backend
from step3vl.inference.server.app import create_app
from step3vl.inference.server.config import ServerConfig
from step3vl.inference.server.protocol import patient

log = logging.getLogger(__name__)

BACKLOG = 1024
KEEP_ALIVE = 75  # seconds; longer than most proxies keep a connection, so that they close it first


class Server(uvicorn.Server):
    """The first signal starts the drain: no new work, what runs is finished. A second one ends at once."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        app = self.config.app
        app.state.service.drain()  # type: ignore[union-attr]
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True


def serve(
    backends: Mapping[str, Backend],
    config: ServerConfig,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    drain: int = 60,
) -> None:
    """Serve until a signal comes; then what runs has `drain` seconds to end. Raises UserError for a taken port."""
    listener = listen(host, port, config.stall)
    server = make_server(backends, config, drain)
    address, bound = listener.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    if not config.api_keys and not ipaddress.ip_address(address).is_loopback:
        log.warning("no API keys are set and %s is open to others: whoever reaches the port may ask", shown)
    log.info("serving %s at http://%s:%d; Ctrl-C ends it", ", ".join(backends), shown, bound)
    asyncio.run(server.serve(sockets=[listener]))


def make_server(backends: Mapping[str, Backend], config: ServerConfig, drain: int) -> Server:
    """uvicorn around the app, as `serve` runs it."""
    return Server(
        uvicorn.Config(
            create_app(backends, config),
            http=patient(config.stall),
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=drain,
            backlog=BACKLOG,
        )
    )


def listen(host: str, port: int, stall: float) -> socket.socket:
    """A listening socket whose connections the kernel drops when their other end has not read for `stall` seconds."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise UserError(
            f"{host}:{port}: cannot listen there ({error.strerror or error}); choose another --port"
        ) from None
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stall * 1000))
    return listener
