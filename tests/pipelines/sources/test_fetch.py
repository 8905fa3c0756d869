"""The fetcher against a server on this machine that misbehaves."""

import asyncio
import io
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image as PILImage

from step3vl.data import public_network
from step3vl.data.errors import InfrastructureError
from step3vl.data.public_network import PrivateAddressError, PublicNetwork
from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.sources.web import fetch as fetch_module
from step3vl.pipelines.sources.web.fetch import FetchConfig, Fetched, Fetcher
from step3vl.pipelines.sources.web.fetch_cache import FetchCache


def png(value: int = 0) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", (8, 8), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


class Server:
    """Answers by path; counts requests, and notes when they came."""

    def __init__(self) -> None:
        self.routes: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.requests: Counter[str] = Counter()
        self.times: list[float] = []
        self.agents: set[str] = set()
        self.url = ""

    def answer(self, path: str, body: bytes = b"", status: int = 200, **headers: str) -> str:
        """Answer a path; returns its URL."""

        def send(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in {"content_length": str(len(body)), **headers}.items():
                if value:
                    handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(body)

        return self.route(path, send)

    def route(self, path: str, send: Callable[[BaseHTTPRequestHandler], None]) -> str:
        self.routes[path] = send
        return self.url + path


@contextmanager
def serve(server: Server) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.requests[self.path] += 1
            server.times.append(time.monotonic())
            server.agents.add(self.headers["User-Agent"])
            if send := server.routes.get(self.path):
                send(self)
            else:
                self.send_error(404)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing to report."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        http.block_on_close = False
        thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        yield server
        http.shutdown()


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Server()) as running:
        yield running


def config(**fields: object) -> FetchConfig:
    return FetchConfig.model_validate(
        {"allow_loopback": True, "host_interval": 0, "seconds": 5, "max_bytes": 100_000, **fields}
    )


def fetch(*urls: str, **fields: object) -> list[Fetched]:
    return Fetcher(config(**fields)).fetch(urls)


def reason(url: str, **fields: object) -> str:
    (got,) = fetch(url, **fields)
    assert bool(got.data) == (not got.reason)
    return got.reason


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_module, "_RETRY_PAUSE", 0.01)


def test_images_come_as_they_are_and_in_order(server: Server) -> None:
    urls = [server.answer(f"/{n}", png(n), content_type="text/html") for n in range(5)]
    assert [got.data for got in fetch(*urls, urls[1])] == [png(0), png(1), png(2), png(3), png(4), png(1)]
    assert server.requests["/1"] == 1
    assert server.requests["/robots.txt"] == 1


def test_the_agent_says_who_it_is(server: Server) -> None:
    fetch(server.answer("/a", png()), contact="https://a.example/bot")
    assert server.agents == {"step3vl (+https://a.example/bot)"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"body": b"<html>no image</html>", "content_type": "image/png"}, "not_an_image"),
        ({"body": b"", "content_type": "image/png"}, "not_an_image"),
        ({"body": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}, "not_an_image"),
        ({"body": b"RIFF\0\0\0\0WAVEfmt "}, "not_an_image"),
        ({"body": png(), "x_robots_tag": "noai"}, "opted_out"),
        ({"body": png(), "x_robots_tag": "otherbot: noimageai, noindex"}, "opted_out"),
        ({"body": png(), "x_robots_tag": "noimageindex"}, "opted_out"),
        ({"body": png(), "tdm_reservation": "1"}, "opted_out"),
        ({"body": png(), "content_encoding": "gzip"}, "encoded"),
        ({"body": png() + bytes(200_000)}, "too_large"),
        ({"body": b"gone", "status": 404}, "http_404"),
        ({"body": b"no", "status": 403}, "http_403"),
        ({"body": b"moved", "status": 302}, "http_302"),
    ],
)
def test_what_is_no_wanted_image_has_a_reason(server: Server, answer: dict[str, object], expected: str) -> None:
    assert reason(server.answer("/a", **answer)) == expected  # type: ignore[arg-type]
    assert server.requests["/a"] == 1


def test_the_size_is_limited_without_a_stated_length(server: Server) -> None:
    sent = []

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(png())
        while True:
            handler.wfile.write(bytes(10_000))
            sent.append(10_000)

    assert reason(server.route("/a", endless)) == "too_large"
    assert sum(sent) < 20_000_000  # what buffers on the way take, and not the stream


@pytest.mark.parametrize("where", ["header", "body"])
def test_a_server_that_drips_is_left_in_time(server: Server, where: str) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        data = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 9000\r\n" + b"X-Slow: 1\r\n" * 900
        if where == "body":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n")
            data = png() * 99
        for place in range(len(data)):
            handler.wfile.write(data[place : place + 1])
            time.sleep(0.05)

    started = time.monotonic()
    assert reason(server.route("/a", drip), seconds=0.6) == "timeout"
    assert time.monotonic() - started < 3


def test_a_server_that_says_nothing_is_left_in_time(server: Server) -> None:
    server.answer("/robots.txt", b"", 404)
    started = time.monotonic()
    assert reason(server.route("/a", lambda handler: time.sleep(2)), seconds=0.5) == "timeout"
    assert time.monotonic() - started < 1.9


def test_redirects_are_followed_and_limited(server: Server) -> None:
    server.answer("/image", png(3))
    for hop in range(7):
        server.answer(f"/{hop}", status=302, location=f"/{hop + 1}" if hop < 6 else "/image")
    (got,) = fetch(f"{server.url}/2")
    assert (got.data, got.url) == (png(3), f"{server.url}/image")
    assert reason(f"{server.url}/0") == "too_many_redirects"
    assert reason(server.answer("/loop", status=301, location="/loop")) == "too_many_redirects"


@pytest.mark.parametrize(
    "target",
    [
        "http://10.0.0.1/a.png", "http://169.254.169.254/latest/meta-data", "http://192.168.0.1:8080/", "http://[fd00::1]/",
        "http://0.0.0.0/", "http://[::ffff:10.0.0.1]/a", "http://100.64.1.1/",
    ],
)  # fmt: skip
def test_private_addresses_are_never_connected_to(server: Server, target: str) -> None:
    assert reason(target) == "private_address"
    assert reason(server.answer("/a", status=302, location=target)) == "private_address"


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://a.example/a.png", "gopher://127.0.0.1:6379/_x"])
def test_only_http_is_spoken_also_after_redirects(server: Server, target: str) -> None:
    assert reason(target) == "bad_url"
    assert reason(server.answer("/a", status=302, location=target)) == "bad_url"


@pytest.mark.parametrize(
    "url", ["", "a.png", "http://", "http://user:secret@127.0.0.1/", "http://[::1", "http://a..b/", "http://x:99999/a"]
)
def test_addresses_that_are_none(url: str) -> None:
    assert reason(url) == "bad_url"


def test_this_machine_is_private_unless_a_test_says_otherwise(server: Server) -> None:
    url = server.answer("/a", png())
    assert reason(url, allow_loopback=False) == "private_address"
    assert not server.requests


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["93.184.216.34"], "connected to 93.184.216.34"),
        (["93.184.216.34", "10.0.0.1"], "the host a.example has an address that is not public"),
        (["2606:4700::1111", "::1"], "the host a.example has an address that is not public"),
    ],
)
def test_the_address_that_was_checked_is_connected_to_and_never_the_name(
    addresses: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return addresses

    async def connect(self: object, host: str, *arguments: object) -> None:
        raise PrivateAddressError(f"connected to {host}")

    monkeypatch.setattr(public_network, "resolve", resolve)
    monkeypatch.setattr(public_network.httpcore.AnyIOBackend, "connect_tcp", connect)
    with pytest.raises(PrivateAddressError, match=expected):
        asyncio.run(PublicNetwork().connect_tcp("a.example", 443))


@pytest.mark.parametrize(
    ("robots", "expected"),
    [
        (b"User-agent: *\nDisallow: /private", {"/private/a": "robots", "/open": ""}),
        (b"User-agent: *\nDisallow: /\n\nUser-agent: step3vl\nAllow: /", {"/open": ""}),
        (b"User-agent: step3vl\nDisallow: /*.png$\nAllow: /", {"/a.png": "robots", "/open": ""}),
        (b"User-agent: other\nDisallow: /", {"/open": ""}),
        (b"User-agent: *\nDisallow:\n" + b"#" * 700_000, {"/open": ""}),
        (b"\xff\xfe\x00<html>no rules</html>", {"/open": ""}),
        (b"User-agent: *\nCrawl-delay: soon\nDisallow: /x", {"/x": "robots", "/open": ""}),
    ],
)
def test_robots_txt_is_obeyed(server: Server, robots: bytes, expected: dict[str, str]) -> None:
    server.answer("/robots.txt", robots)
    for path in expected:
        server.answer(path, png())
    got = fetch(*(server.url + path for path in expected))
    assert {path: each.reason for path, each in zip(expected, got, strict=True)} == expected
    assert not any(server.requests[path] for path, why in expected.items() if why)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_whose_robots_txt_fails_is_left_alone(server: Server, status: int) -> None:
    server.answer("/robots.txt", b"", status)
    assert reason(server.answer("/a", png())) == "robots_unreachable"
    assert not server.requests["/a"]


def test_a_redirect_is_asked_for_at_the_robots_txt_of_its_own_host(server: Server) -> None:
    with serve(Server()) as other:
        other.answer("/robots.txt", b"User-agent: *\nDisallow: /")
        target = other.answer("/image", png())
        assert reason(server.answer("/a", status=302, location=target)) == "robots"
        assert not other.requests["/image"]


def test_requests_to_a_host_keep_their_pause(server: Server) -> None:
    fetch(*(server.answer(f"/{n}", png(n)) for n in range(4)), host_interval=0.1)
    assert len(server.times) == 5
    assert server.times[-1] - server.times[0] > 0.3


def test_a_host_that_wants_long_pauses_is_not_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_module, "_LONGEST_QUEUE", 0.2)
    server.answer("/robots.txt", b"User-agent: *\nCrawl-delay: 20")
    reasons = [got.reason for got in fetch(*(server.answer(f"/{n}", png(n)) for n in range(3)))]
    assert sorted(reasons) == ["", "host_busy", "host_busy"]


def test_what_may_pass_is_tried_again(server: Server) -> None:
    def recovers(handler: BaseHTTPRequestHandler) -> None:
        if server.requests["/a"] < 3:
            handler.send_error(503)
        else:
            server.answer("/b", png())
            server.routes["/b"](handler)

    assert reason(server.route("/a", recovers)) == ""
    assert reason(server.answer("/down", b"", 500)) == "http_500"
    assert (server.requests["/a"], server.requests["/down"]) == (3, 3)


def test_a_server_that_asks_for_a_long_pause_is_not_asked_again(server: Server) -> None:
    assert reason(server.answer("/a", b"", 429, retry_after="3600")) == "http_429"
    assert server.requests["/a"] == 1


def test_a_body_that_is_cut_is_tried_again_and_fails(server: Server) -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        handler.wfile.write(png())
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)

    assert reason(server.route("/a", cut)) == "truncated"
    assert server.requests["/a"] == 3


def test_garbage_is_no_answer(server: Server) -> None:
    assert reason(server.route("/a", lambda handler: handler.wfile.write(b"\0garbage\r\n\r\n"))) == "protocol"


def test_a_port_that_nobody_listens_at(server: Server) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a"
        assert reason(url) in ("robots_unreachable", "connect")


def test_a_machine_that_is_offline_ends_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(public_network, "resolve", resolve)
    urls = [f"http://host{n}.example/a.png" for n in range(5)]
    assert [got.reason for got in fetch(*urls[:4])] == ["dns"] * 4
    with pytest.raises(InfrastructureError, match="none of 5 hosts"):
        fetch(*urls)


def cache(root: Path, **fields: object) -> FetchCache:
    return FetchCache(config(**fields), str(root), DEFAULT_STORE)


def test_what_was_fetched_or_failed_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    urls = [server.answer("/a", png(1)), server.answer("/b", b"", 404), server.answer("/c", png(3))]
    first = cache(tmp_path).fetch(urls)
    tables = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    server.answer("/a", png(9))
    before = server.requests.copy()
    assert cache(tmp_path, seconds=1).fetch(urls[::-1]) == first[::-1]
    assert server.requests == before
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")} == tables


def test_another_attempt_asks_again_only_for_what_may_have_passed(server: Server, tmp_path: Path) -> None:
    urls = [server.answer("/a", png(1)), server.answer("/b", b"", 404), server.answer("/c", b"", 503)]
    assert [got.reason for got in cache(tmp_path).fetch(urls)] == ["", "http_404", "http_503"]
    before = server.requests.copy()
    server.answer("/c", png(3))
    got = cache(tmp_path, attempt=1).fetch(urls)
    assert [each.data for each in got] == [png(1), b"", png(3)]
    assert server.requests - before == Counter({"/c": 1, "/robots.txt": 1})
    assert [each.reason for each in cache(tmp_path).fetch(urls)] == ["", "http_404", "http_503"]


def test_a_kept_table_that_is_damaged_ends_the_step(server: Server, tmp_path: Path) -> None:
    url = server.answer("/a", png(1))
    cache(tmp_path).fetch([url])
    (table,) = tmp_path.rglob("*.parquet")
    table.write_bytes(table.read_bytes()[:-20])
    with pytest.raises(InfrastructureError, match="remove it"):
        cache(tmp_path).fetch([url])
