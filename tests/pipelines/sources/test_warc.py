import gzip
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.pipelines.sources.web.archive_site import response_record
from step3vl.pipelines.sources.web.warc import WarcError, is_warc, parse_response, unpack_record, walk_records

HTML = [("Content-Type", "text/html; charset=utf-8")]
MEMBERS = [response_record(f"http://a.example/{number}", 200, HTML, b"<p>page %d" % number) for number in range(4)]
PLAIN = [gzip.decompress(member) for member in MEMBERS]


def walk(path: Path, data: bytes) -> list[str]:
    """The last part of each record's address, or what is wrong with it."""
    path.write_bytes(data)
    addresses = []
    for part in walk_records(path):
        response = None if part.damage else parse_response(unpack_record(data[part.offset :][: part.size]), 100)
        addresses.append(part.damage if response is None else response.url.rpartition("/")[2])
    return addresses


@pytest.mark.parametrize("members", [MEMBERS, PLAIN], ids=["gzip", "plain"])
def test_records_are_read_again_at_their_offsets(tmp_path: Path, members: list[bytes]) -> None:
    assert walk(tmp_path / "w", b"".join(members)) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("members", [MEMBERS, PLAIN], ids=["gzip", "plain"])
def test_a_truncated_archive_gives_all_but_its_last_record(tmp_path: Path, members: list[bytes]) -> None:
    assert walk(tmp_path / "w", b"".join(members)[:-20]) == ["0", "1", "2", "truncated"]


@pytest.mark.parametrize("members", [MEMBERS, PLAIN], ids=["gzip", "plain"])
def test_junk_between_records_costs_no_record(tmp_path: Path, members: list[bytes]) -> None:
    assert walk(tmp_path / "w", members[0] + b"\0" * 99 + members[1]) == ["0", "damaged", "1"]


def test_a_flipped_byte_costs_its_record_alone(tmp_path: Path) -> None:
    data = bytearray(b"".join(MEMBERS))
    data[len(MEMBERS[0]) + 60] ^= 255
    assert walk(tmp_path / "w", bytes(data)) == ["0", "damaged", "2", "3"]


def test_an_empty_gzip_member_is_passed_over(tmp_path: Path) -> None:
    assert walk(tmp_path / "w", MEMBERS[0] + gzip.compress(b"") + MEMBERS[1]) == ["0", "1"]


def test_a_bomb_is_not_decompressed(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = packer.compress(PLAIN[1])
    for _ in range(200):
        bomb += packer.compress(bytes(1 << 20))
    bomb += packer.flush()
    assert walk(tmp_path / "w", MEMBERS[0] + bomb + MEMBERS[2]) == ["0", "too_large", "2"]
    with pytest.raises(WarcError, match="more than"):
        unpack_record(bomb)


def test_a_bomb_in_the_content_encoding_is_cut_at_the_limit() -> None:
    headers = [*HTML, ("Content-Encoding", "gzip")]
    response = parse_response(
        gzip.decompress(response_record("http://a/", 200, headers, gzip.compress(bytes(50 << 20)))), 1000
    )
    assert response is not None and len(response.body) == 1001


def test_chunks_and_headers_are_decoded() -> None:
    headers = [
        ("Content-Type", "Text/HTML; Charset=GBK"),
        ("Transfer-Encoding", "chunked"),
        ("X-A", "1"),
        ("x-a", "2"),
    ]
    body = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    response = parse_response(gzip.decompress(response_record("http://a/", 203, headers, body)), 100)
    assert response is not None
    assert (response.status, response.mime, response.charset, response.body) == (203, "text/html", "GBK", b"abcde")
    assert response.headers["x-a"] == "1, 2"


def test_records_without_a_response_are_none() -> None:
    for kind in (b"request", b"warcinfo", b"revisit"):
        assert parse_response(PLAIN[0].replace(b"WARC-Type: response", b"WARC-Type: " + kind), 100) is None


def test_an_archive_compressed_as_a_whole_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WarcError, match="each record as a gzip member"):
        walk(tmp_path / "w", gzip.compress(b"".join(PLAIN)))


@given(st.binary(max_size=200))
def test_other_files_are_no_archives(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("warc") / "w"
    path.write_bytes(data)
    assert is_warc(path) == data.startswith(b"WARC/")


@given(st.lists(st.integers(0, 500), max_size=3), st.integers(0, 255))
def test_damage_never_raises(tmp_path_factory: pytest.TempPathFactory, places: list[int], value: int) -> None:
    data = bytearray(b"".join(MEMBERS))
    for place in places:
        data[len(MEMBERS[0]) + place] = value
    assert walk(tmp_path_factory.mktemp("warc") / "w", bytes(data))[0] == "0"
