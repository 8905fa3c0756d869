"""Images by URL: allowed ones are fetched, and nothing else can be reached through them."""

import asyncio
import io
import ssl
import struct
import subprocess
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from step3vl.data import public_network
from step3vl.data.public_addresses import is_public
from step3vl.inference.server import ServerConfig
from step3vl.inference.server.chat_messages import ImageUrl
from step3vl.inference.server.errors import ApiError
from step3vl.inference.server.image_fetching import ImageFetcher
from step3vl.inference.server.request_images import RequestImageLoader, decode_image


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
        "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::",
        "2001:db8::1", "2001:0:a00:1::80ff:fefe",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_that_are_public(address):
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_as_public_as_its_ipv4_address(address):
    assert is_public(f"::ffff:{address}") == is_public(str(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://images.test/a.png",
        "https://other.test/a.png",
        "https://images.test:8443/a.png",
        "https://images.test.evil.test/a.png",
        "https://evil.test/@images.test",
        "https://user@images.test/a.png",
        "https://images.test@evil.test/a.png",
        "https://evil.test#images.test",
        "https://[::1",
        "https://images.test:99999/",
        "ftp://images.test/a.png",
        "gopher://images.test",
        "https:///a.png",
        "//images.test/a.png",
    ],
)
def test_urls_outside_the_allow_list_are_refused(url):
    with pytest.raises(ApiError) as caught:
        ImageFetcher(["images.test"], 1000).check(url)
    assert caught.value.status == 400


class Host:
    """An https server that plays `images.test`; `pages` maps a path to its handler."""

    def __init__(self, folder):
        self.pages = {}
        self.seen = []
        pages, seen = self.pages, self.seen

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                seen.append(self.headers["Host"] + self.path)
                pages[self.path](self)

            def log_message(self, *args):
                pass

        key, certificate = folder / "key.pem", folder / "certificate.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=images.test",
             "-addext", "subjectAltName=DNS:images.test", "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )  # fmt: skip
        self.trust = ssl.create_default_context(cafile=certificate)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # some tests disconnect on purpose
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def page(self, path, body=b"", status=200, **headers):
        def answer(handler):
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        self.pages[path] = answer

    def url(self, path):
        return f"https://images.test:{self.port}{path}"


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    host = Host(tmp_path_factory.mktemp("tls"))
    yield host
    host.server.shutdown()
    host.server.server_close()


@pytest.fixture
def get(host, monkeypatch):
    """Fetch a path of the host, whose name resolves to this machine; `public` lists its public addresses."""
    addresses = {"images.test": ["127.0.0.1"]}

    async def resolve(name, port):
        if name not in addresses:
            raise OSError(f"{name}: unknown host")
        return addresses[name]

    monkeypatch.setattr(public_network, "resolve", resolve)

    def run(url, public=("127.0.0.1",), limit=100_000, seconds=5.0, hosts=None):
        monkeypatch.setattr(public_network, "is_public", lambda address: address in public)

        async def go():
            fetcher = ImageFetcher(hosts or [f"images.test:{host.port}"], limit, seconds, host.trust)
            try:
                return await fetcher.get(url)
            finally:
                await fetcher.close()

        return asyncio.run(go())

    run.addresses = addresses
    return run


def refused(run, *arguments, **options):
    with pytest.raises(ApiError) as caught:
        run(*arguments, **options)
    return caught.value.status


def test_an_image_is_fetched_from_the_checked_address(host, get, png):
    host.page("/a.png", png())
    assert get(host.url("/a.png")) == png()
    assert host.seen[-1] == f"images.test:{host.port}/a.png"


def test_a_name_with_a_private_address_is_never_connected(host, get):
    get.addresses["images.test"] = ["127.0.0.1", "127.0.0.2"]
    before = len(host.seen)
    assert refused(get, host.url("/a.png")) == 400
    assert len(host.seen) == before


def test_redirects_are_checked(host, get, png):
    host.page("/a.png", png())
    host.page("/near", status=302, Location="/a.png")
    host.page("/metadata", status=302, Location="https://169.254.169.254/latest/meta-data/")
    host.page("/plain", status=302, Location=f"http://images.test:{host.port}/a.png")
    host.page("/file", status=302, Location="file:///etc/passwd")
    host.page("/round", status=307, Location="/round")
    assert get(host.url("/near")) == png()
    for path in ("/metadata", "/plain", "/file"):
        assert refused(get, host.url(path)) == 400
    assert refused(get, host.url("/round")) == 422


def test_a_redirect_to_a_private_address_is_refused(host, get):
    get.addresses["inner.test"] = ["10.0.0.1"]
    host.page("/inner", status=302, Location="https://inner.test/secret")
    assert refused(get, host.url("/inner"), hosts=["inner.test", f"images.test:{host.port}"]) == 400


def test_size_and_time_are_limited(host, get):
    host.page("/large", b"x" * 5000)
    assert refused(get, host.url("/large"), limit=4999) == 413
    assert len(get(host.url("/large"), limit=5000)) == 5000

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(50):
            handler.wfile.write(b"x")
            threading.Event().wait(0.1)

    host.pages["/slow"] = endless
    assert refused(get, host.url("/slow"), seconds=0.4) == 422


def test_failed_requests_are_reported(host, get):
    host.page("/gone", status=404)
    assert refused(get, host.url("/gone")) == 422
    assert refused(get, "https://nowhere.test/a.png", hosts=["nowhere.test"]) == 422
    get.addresses["closed.test"] = ["127.0.0.1"]
    assert refused(get, "https://closed.test:9/a.png", hosts=["closed.test:9"]) == 422
    get.addresses["wrong.test"] = ["127.0.0.1"]
    assert refused(get, f"https://wrong.test:{host.port}/gone", hosts=["*", f"wrong.test:{host.port}"]) == 422


def load(config, *urls):
    async def go():
        loader = RequestImageLoader(config)
        try:
            return await loader.load([ImageUrl(url=url) for url in urls])
        finally:
            await loader.close()

    return asyncio.run(go())


def test_files_are_read_from_the_image_folder_only(tmp_path, png):
    folder = tmp_path / "open"
    folder.mkdir()
    (folder / "a b.png").write_bytes(png())
    (tmp_path / "secret.png").write_bytes(png())
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    config = ServerConfig(image_folder=folder)
    assert load(config, f"file://{folder}/a%20b.png")[0].width == 60
    for path in ("../secret.png", "link.png", "missing.png", "", "%2e%2e/secret.png", "a%00.png"):
        assert refused(load, config, f"file://{folder}/{path}") == 400
    assert refused(load, ServerConfig(), f"file://{folder}/a%20b.png") == 400


def test_number_bytes_and_pixels_are_limited(png, data_url):
    url = data_url(png())
    assert refused(load, ServerConfig(images=2), url, url, url) == 413
    assert refused(load, ServerConfig(image_bytes=100), url) == 413
    assert refused(load, ServerConfig(image_pixels=60 * 40 - 1), url) == 413
    assert len(load(ServerConfig(image_pixels=60 * 40, images=2), url, url)) == 2


def bomb(width, height):
    """A PNG of one colour: few bytes, many pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**7)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [9000, 60_000, 2**31 - 1])
def test_a_decompression_bomb_is_not_unpacked(side):
    with pytest.raises(ApiError) as caught:
        decode_image(bomb(side, side), 64_000_000)
    assert caught.value.status in (413, 422)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_sample_format_is_decoded(kind):
    buffer = io.BytesIO()
    Image.new("RGB", (31, 17), "red").save(buffer, kind)
    image = decode_image(buffer.getvalue(), 10_000)
    assert (image.width, image.height) == (31, 17)


@given(st.binary(max_size=400), st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]), st.integers(0, 300))
def test_broken_images_are_refused(noise, kind, place):
    buffer = io.BytesIO()
    Image.effect_noise((40, 30), 50).save(buffer, kind)
    data = buffer.getvalue()
    for broken in (noise, data[:place] + noise + data[place + len(noise) :], data[: len(data) - place]):
        try:
            decode_image(broken, 100_000)
        except ApiError as error:
            assert error.status in (413, 422)
