"""Running the server: uvicorn, with a shutdown that lets running requests finish."""

import asyncio
import ipaddress
import logging
import resource
import socket
from collections.abc import Mapping
from types import FrameType

import uvicorn

from step3vl.data.errors import UserError
from step3vl.inference.client import Backend
from step3vl.inference.server.app import create_app
from step3vl.inference.server.config import ServerConfig
from step3vl.inference.server.http_limits import head_limited_protocol

log = logging.getLogger(__name__)

BACKLOG = 4096  # connections that may wait to be accepted; the kernel's own limit is often 4,096
FILES_PER_CONNECTION = 2  # a gateway has one to its client and one to the server behind it
OTHER_FILES = 256
KEEP_ALIVE = 75  # seconds; longer than most proxies keep a connection, so that they close it first


class DrainingServer(uvicorn.Server):
    """The first signal starts the drain: new requests are refused, running ones finish. A second one ends at once."""

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
    """Serve until a signal arrives.

    Args:
        backends: The backend of each model name.
        config: The server's limits.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        drain: Seconds that running requests have to finish after the first signal.

    Raises:
        UserError: When the port is taken.
    """
    raise_file_limit(FILES_PER_CONNECTION * config.connections + OTHER_FILES)
    listener = listen(host, port, config.stall)
    server = make_server(backends, config, drain)
    address, bound_port = listener.getsockname()[:2]
    url_host = f"[{address}]" if ":" in address else address
    if not config.api_keys and not ipaddress.ip_address(address).is_loopback:
        log.warning(
            "no API keys are set and %s is reachable by others: everyone who reaches the port is served", url_host
        )
    log.info("serving %s at http://%s:%d; press Ctrl-C to stop", ", ".join(backends), url_host, bound_port)
    asyncio.run(server.serve(sockets=[listener]))


def make_server(backends: Mapping[str, Backend], config: ServerConfig, drain: int) -> DrainingServer:
    """uvicorn around the app, as `serve` runs it."""
    return DrainingServer(
        uvicorn.Config(
            create_app(backends, config),
            http=head_limited_protocol(config.stall),
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=drain,
            backlog=BACKLOG,
        )
    )


def raise_file_limit(count: int) -> None:
    """Let this process open `count` files, as far as the system allows; the usual limit of 1,024 is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def listen(host: str, port: int, stall: float) -> socket.socket:
    """A listening socket; the kernel drops a connection whose client has not read for `stall` seconds."""
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
