"""How the fields of a store's configuration reach each file system."""

from typing import Any

import pytest

from step3vl.data.storage.store_config import StoreConfig


@pytest.mark.parametrize(
    ("protocol", "options"),
    [
        ("s3", {"endpoint_url": "http://here", "anon": True, "profile": "lab", "use_ssl": False}),
        ("gs", {"endpoint_url": "http://here", "token": "anon", "use_ssl": False}),
        ("abfs", {"anon": True, "use_ssl": False}),
        ("https", {"use_ssl": False}),
        ("file", {"use_ssl": False}),
    ],
)
def test_each_file_system_gets_the_options_that_it_knows(protocol: str, options: dict[str, Any]) -> None:
    config = StoreConfig(endpoint="http://here", anonymous=True, profile="lab", options={"use_ssl": False})
    assert config.options_of(protocol) == options
    assert StoreConfig().options_of(protocol) == {}


def test_an_option_of_the_file_system_overrides_a_field() -> None:
    assert StoreConfig(anonymous=True, options={"anon": False}).options_of("s3") == {"anon": False}
