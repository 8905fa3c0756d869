"""Serving the pages on this machine until a signal comes."""

import asyncio
import logging
import socket

import uvicorn

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.pipelines.view.viewer.app import create_app

log = logging.getLogger(__name__)

HOST = "127.0.0.1"  # samples are for whoever sits at this machine; others come through a tunnel


def serve(dataset: Dataset, other: Dataset | None = None, *, port: int = 8001) -> None:
    """Serve until a signal comes.

    Args:
        dataset: The dataset to browse.
        other: Another build, to compare with.
        port: Of the loopback interface; 0 takes a free one.

    Raises:
        UserError: The port is in use.
    """
    try:
        listener = socket.create_server((HOST, port))
    except OSError as error:
        raise UserError(f"--port {port}: {error.strerror}; give another one, or 0 for any") from None
    app = create_app(dataset, other)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, server_header=False))
    log.info("%s at http://%s:%d; press Ctrl-C to stop", dataset.url, HOST, listener.getsockname()[1])
    asyncio.run(server.serve(sockets=[listener]))
