"""Which hosts there can be: the one rule for flags, registrations, engines' records and URLs. Pure.

:source: RFC 1034 3.1 for the lengths. Underscores and dashes stand anywhere: Docker Compose and Swarm make such names,
    and whatever looks names up finds them.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final

#: Characters of the longest name.
MAX_NAME: Final = 253
_NAME: Final = re.compile(r"[0-9A-Za-z_-]{1,63}(\.[0-9A-Za-z_-]{1,63})*\.?")
_IPV6: Final = re.compile(r"[0-9A-Fa-f:.]+(%[0-9A-Za-z._-]+)?")


def is_host(text: str) -> bool:
    """Whether it is a name or an address that can be connected to; an IPv6 address without brackets."""
    if ":" not in text:
        return len(text) <= MAX_NAME and _NAME.fullmatch(text) is not None
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return _IPV6.fullmatch(text) is not None
