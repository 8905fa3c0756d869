"""The pages as a browser gets them, without a browser."""

import html
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from step3vl.data.errors import UserError
from step3vl.pipelines.view.viewer import create_app
from step3vl.pipelines.view.viewer.app import SAMPLES, STATIC
from step3vl.pipelines.view.viewer.serve import serve

DUPLICATE_ID = "f" * 32


def get(client: TestClient, address: str, status: int = 200) -> str:
    response = client.get(address)
    assert response.status_code == status, response.text
    return response.text


def test_the_list_pages_through_all_samples(client, links, dataset):
    address, ids = "/", []
    while True:
        page = get(client, address)
        ids += [link.partition("/sample/")[2] for link in links(page, "/sample/")]
        following = re.search(r'data-key="next" href="([^"]*)"', page)
        if following is None:
            break
        address = html.unescape(following[1])
    assert ids == [sample.id for sample in dataset.samples()]
    assert len(ids) > SAMPLES
    back = get(client, html.unescape(re.search(r'data-key="previous" href="([^"]*)"', page)[1]))
    assert links(back, "/sample/")[-1].endswith(
        ids[ids.index(links(page, "/sample/")[0].partition("/sample/")[2]) - 1]
    )


def test_a_filter_stays_on_the_way_through_samples(client, links):
    page = get(client, "/?domain=counting&score=clip&least=0.9")
    first, second = links(page, "/sample/")[:2]
    assert "domain=counting" in first
    opened = get(client, first)
    step = client.get(html.unescape(re.search(r'data-key="next" href="([^"]*)"', opened)[1]))
    assert step.status_code == 303
    assert step.headers["location"] == second
    back = re.search(r'data-key="previous" href="([^"]*)"', get(client, second))[1]
    assert client.get(html.unescape(back)).headers["location"] == first
    end = client.get(html.unescape(re.search(r'data-key="previous" href="([^"]*)"', opened)[1]))
    assert end.headers["location"].startswith("/?domain=counting")  # nothing before the first: the list


def test_a_sample_has_its_marks_truth_and_facts(client, samples):
    page = get(client, f"/sample/{samples['boxes'].id}")
    assert page.count("<rect") == 4
    assert '<rect class="truth" x="40.0" y="40.0" width="152.0" height="80.0"/>' in page
    assert "cat" in page and "photos/1" in page and "CC0-1.0" in page
    page = get(client, f"/sample/{samples['trajectory'].id}")
    assert page.count("<figure>") == 3
    assert re.search(r'<line class="answer-mark" x1="50.0" y1="180.0" x2="50.0" y2="20.0"/>', page)
    assert "3 complete done" in page


def test_content_of_samples_is_escaped_and_code_is_rendered_apart(client, samples):
    sample = samples["html"]
    for address in (f"/sample/{sample.id}", "/?domain=ocr", "/drops"):
        page = get(client, address)
        assert "<script>document" not in page
        assert "<img src=x" not in page
        assert "&lt;script&gt;document" in page
    response = client.get(f"/rendered/{sample.id}/2")
    assert "<h1>Shop</h1>" in response.text
    assert response.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert re.search(r'<iframe sandbox loading="lazy"', get(client, f"/sample/{sample.id}"))
    assert get(client, f"/rendered/{sample.id}/1", 404)
    assert get(client, f"/rendered/{sample.id}/9", 404)


def test_every_response_has_a_policy(client, samples):
    for address in ("/", "/drops", "/nothing", f"/sample/{samples['boxes'].id}", "/static/style.css"):
        headers = client.get(address).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; img-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"


def test_other_names_of_this_machine_are_refused(app):
    assert TestClient(app, base_url="http://attacker.example").get("/").status_code == 400


def test_images_have_their_type_and_other_bytes_are_none(client, links, samples):
    page = get(client, f"/sample/{samples['tiff'].id}")
    image = client.get(re.search(r'<img src="(/image/[^"]*)"', page)[1])
    assert image.headers["content-type"] == "image/png"
    assert get(client, "/image/this/0/0/600", 404)
    assert get(client, "/image/this/99/0/10", 404)


@pytest.mark.parametrize(
    ("address", "status", "message"),
    [
        ("/sample/xyz", 404, "is no id of a sample"),
        (f"/sample/{'0' * 32}", 404, "There is no sample 000"),
        ("/?build=third", 404, "There is no build third"),
        ("/?least=much", 400, "least"),
        ("/?at=here", 400, "is not a place"),
        ("/nothing", 404, "There is no page /nothing"),
    ],
)
def test_mistakes_in_addresses_are_pages_that_say_so(client, address, status, message):
    assert message in html.unescape(get(client, address, status))


def test_dropped_and_failed_records_are_listed_by_reason(client, links):
    page = get(client, "/drops")
    assert all(word in page for word in ("too_small", "ValueError", "near_duplicate", "icons/90", "icons/92"))
    chosen = get(client, "/drops?step=icons.build&reason=too_small")
    assert "icons/91" in chosen and "icons/92" not in chosen
    failed = get(client, "/drops?step=icons.build&reason=ValueError")
    assert "icons/92" in failed and "icons/90" not in failed
    assert "icons/90" in get(client, "/drops?text=ICONS/90")
    assert links(page, "/evidence?id=")[-1] == f"/evidence?id={DUPLICATE_ID}"


def test_evidence_names_the_match(client, samples):
    page = get(client, f"/evidence?id={DUPLICATE_ID}")
    assert samples["boxes"].id in page
    assert "similarity 0.87" in page and "phash 2" in page
    assert DUPLICATE_ID in get(client, f"/evidence?matched_id={samples['boxes'].id}")
    assert DUPLICATE_ID not in get(client, f"/evidence?matched_id={'1' * 32}")
    assert ">measured" not in page


def test_evidence_of_a_filter_has_what_was_measured_and_its_limit(client):
    page = get(client, "/evidence?reason=too_long")
    assert "measured 120,000" in page and "limit 100,000" in page


def test_clusters_lead_to_their_evidence(client, links, samples):
    page = get(client, "/clusters")
    assert "1 samples were dropped in 1 clusters" in page and "Where are the cat and the sky?" in page
    assert links(page, "/evidence?") == [f"/evidence?matched_id={samples['boxes'].id}"]
    assert "Nothing was dropped as a duplicate" in get(client, "/clusters?build=other")


def test_contents_appear_when_they_are_counted(client, links):
    page = get(client, "/contents")
    assert "/?domain=ocr" in links(page, "/?domain")
    assert "/?task=gui.trajectory" in links(page, "/?task")


def test_changes_lead_to_samples_side_by_side(client, links, samples):
    assert samples["table"].id in get(client, "/changes?kind=added")
    removed = get(client, "/changes?kind=removed")
    [address] = links(removed, "/sample/")
    assert "How many? 60" in get(client, address)
    assert "heldout" in get(client, "/changes?kind=moved")
    [pair] = links(get(client, "/changes?kind=changed"), "/pair")
    page = html.unescape(get(client, pair))
    assert re.search(r"<del>-.*Mall", page) and re.search(r"<ins>\+.*Shop", page)
    get(client, "/changes?kind=other", 400)


def test_without_another_build_there_are_no_changes(dataset):
    client = TestClient(create_app(dataset), base_url="http://127.0.0.1")
    assert "/changes" not in client.get("/").text
    assert client.get("/changes").status_code == 404


def test_a_damaged_index_is_a_message(tmp_path, build_dataset, samples):
    dataset = build_dataset(tmp_path, samples.values(), heldout=0, shards=1)
    client = TestClient(create_app(dataset), base_url="http://127.0.0.1")
    (tmp_path / dataset.manifest.shards[0].index_path).unlink()
    response = client.get("/")
    assert response.status_code == 500
    assert "is listed in dataset.json but missing" in response.text


def test_a_port_in_use_is_a_mistake_of_the_user(dataset):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match="give another one"):
        serve(dataset, port=taken.getsockname()[1])


def test_pages_load_nothing_from_elsewhere():
    templates = STATIC.with_name("templates")
    for path in [*STATIC.iterdir(), *Path(templates).iterdir()]:
        assert not re.search(r"(?:src|href|url|import)\b[^\n]*https?://", path.read_text()), path
