"""A proxy between clients and an S3 server that treats some requests badly, chosen by a seed.

`refuse` answers 503 SlowDown, `cut` ends the answer in its middle, `delay` waits, and `lose` lets the server do its
work and closes the connection without an answer. Run as a program, it prints its port and then a line for each fault.
"""

import argparse
import asyncio
import random
import re

FAULTS = ("refuse", "cut", "delay", "lose")
DELAY = 0.3  # seconds
_REFUSAL = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Slow down.</Message></Error>"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def _header(head: bytes, name: bytes) -> bytes:
    match = re.search(rb"\r\n" + name + rb": *([^\r]*)", head, re.IGNORECASE)
    return match[1] if match else b""


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    """The body of a request as it was sent."""
    if _header(head, b"transfer-encoding") != b"chunked":
        return await reader.readexactly(int(_header(head, b"content-length") or 0))
    body = b""
    while True:
        size = await reader.readuntil(b"\r\n")
        length = int(size.split(b";")[0], 16)
        body += size + await reader.readexactly(length + 2)
        if length == 0:
            return body


async def _answer(head: bytes, body: bytes, host: str, port: int) -> bytes:
    """What the server says; each request has a connection of its own, which ends with the answer."""
    head = re.sub(rb"\r\n(connection|expect): [^\r]*", b"", head, flags=re.IGNORECASE)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(head[:-2] + b"Connection: close\r\n\r\n" + body)
    answer = await reader.read(-1)
    writer.close()
    return answer


async def serve(host: str, server: tuple[str, int], rate: float, seed: int) -> None:
    """Serve until the process ends; a fraction `rate` of the requests meets a fault."""
    dice = random.Random(seed)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if _header(head, b"expect"):
                writer.write(_CONTINUE)
            body = await _body(head, reader)
            fault = dice.choice(FAULTS) if dice.random() < rate else None
            if fault:
                print(fault, head.split(b" HTTP/")[0].decode(), flush=True)
            if fault == "delay":
                await asyncio.sleep(DELAY)
            if fault == "refuse":
                answer = b"HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(_REFUSAL)
                answer += _REFUSAL
            else:
                answer = await _answer(head, body, *server)
            if fault == "cut":
                answer = answer[: (answer.index(b"\r\n\r\n") + 4 + len(answer)) // 2]
            if fault != "lose":
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(handle, host, 0)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await listener.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("server", help="HOST:PORT")
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=140)  # each kind of fault among the first 17 requests
    arguments = parser.parse_args()
    address, _, number = arguments.server.rpartition(":")
    asyncio.run(serve(arguments.host, (address, int(number)), arguments.rate, arguments.seed))
