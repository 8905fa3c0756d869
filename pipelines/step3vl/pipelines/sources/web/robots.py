"""What robots.txt says about an address (RFC 9309), kept for the hosts that were asked last."""

from collections import OrderedDict
from typing import NamedTuple

from protego import Protego

MAX_ROBOTS = 500 << 10  # bytes that are read; RFC 9309 asks for 500 KiB at least
_HOSTS = 20_000  # that are remembered
_LONGEST_DELAY = 30.0  # seconds that a host may ask to wait between requests


class Rules(NamedTuple):
    """The rules of a host for an agent.

    Attributes:
        parsed: The file; None where everything or nothing is allowed.
        allowed: What holds without a file.
        delay: Seconds to wait between requests.
    """

    parsed: Protego | None
    allowed: bool
    delay: float = 0.0

    def allows(self, url: str, agent: str) -> bool:
        """Whether an agent may fetch an address."""
        return self.allowed if self.parsed is None else bool(self.parsed.can_fetch(url, agent))


def rules_of(status: int, body: bytes, agent: str) -> Rules:
    """The rules of a host by its answer for `/robots.txt`.

    A file that is not there allows everything; a server that fails or limits its rate allows nothing for now.

    Args:
        status: HTTP status; 0 for a server that did not answer.
        body: The file, or its first 500 KiB.
        agent: The product token.
    """
    if status == 200:
        try:
            parsed = Protego.parse(body[:MAX_ROBOTS].decode("utf-8", "replace"))
        except ValueError:  # numbers that are none, in files that are no robots.txt
            return Rules(None, allowed=True)
        return Rules(parsed, allowed=True, delay=min(parsed.crawl_delay(agent) or 0.0, _LONGEST_DELAY))
    return Rules(None, allowed=400 <= status < 500 and status != 429)


class RulesCache:
    """The rules of the hosts that were asked last."""

    def __init__(self) -> None:
        self._rules: OrderedDict[str, Rules] = OrderedDict()

    def get(self, origin: str) -> Rules | None:
        """The rules of an origin such as `https://a.example`, if they are known."""
        if origin in self._rules:
            self._rules.move_to_end(origin)
        return self._rules.get(origin)

    def put(self, origin: str, rules: Rules) -> None:
        """Remember the rules of an origin."""
        self._rules[origin] = rules
        if len(self._rules) > _HOSTS:
            self._rules.popitem(last=False)
