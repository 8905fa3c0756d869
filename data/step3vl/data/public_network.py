"""Connections for fetching what strangers name: to public addresses only, checked where the connection is made.

A name that resolves to another address a moment later gains nothing, because the address that was checked is the one
that is connected to. Redirects make connections of their own, which are checked alike.

This needs httpcore, which the extras `client` and `pipelines` install.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from contextlib import suppress

import httpcore

from step3vl.data.public_addresses import is_public


class PrivateAddressError(Exception):
    """A host has an address that is not public."""


class UnknownHostError(OSError):
    """A host has no address."""


class PublicNetwork(httpcore.AsyncNetworkBackend):
    """Connects to public addresses. TLS still verifies the name of the host: only the TCP connection is made here.

    Args:
        allow_loopback: Whether this machine may be connected to, for tests with a server of their own.
    """

    def __init__(self, *, allow_loopback: bool = False) -> None:
        self._network = httpcore.AnyIOBackend()
        self._allow_loopback = allow_loopback

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of a host that answers.

        Raises:
            PrivateAddressError: One of its addresses is not public.
            UnknownHostError: It has none.
            httpcore.ConnectError: No address answers.
        """
        try:
            addresses = await resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise UnknownHostError(str(error)) from None
        if not all(map(self._may_connect, addresses)):
            raise PrivateAddressError(f"the host {host} has an address that is not public")
        for address in addresses[:-1]:
            with suppress(httpcore.ConnectError):  # an IPv6 address where this machine has no way to it, say
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
        return await self._network.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

    def _may_connect(self, address: str) -> bool:
        return is_public(address) or (self._allow_loopback and _is_loopback(address))


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, in the system's order. Raises OSError when it has none."""
    entries = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in entries]


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
