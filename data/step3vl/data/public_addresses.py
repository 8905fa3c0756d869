"""Which network addresses are public: whoever fetches what strangers name must reach no others."""

import ipaddress

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an address is globally reachable: not private, loopback, link-local, shared or multicast.

    An IPv6 address that embeds an IPv4 address (mapped, NAT64, 6to4, Teredo) is as public as that address.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False  # an IPv6 address with a zone is link-local
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = [parsed.ipv4_mapped, parsed.sixtofour, *(parsed.teredo or ())]
        if parsed in _NAT64:
            inner.append(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF))
        embedded = [inner_address for inner_address in inner if inner_address is not None]
        if embedded:
            return all(is_public(str(inner_address)) for inner_address in embedded)
    return parsed.is_global and not parsed.is_multicast
