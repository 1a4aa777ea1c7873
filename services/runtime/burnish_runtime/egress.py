"""Where a job may send calls: never to cloud metadata, and only to hosts that the operator allows.

The address of an app or of a model server comes from whoever submits a job. The addresses in the
operator's own settings are trusted.
"""

from __future__ import annotations

import ipaddress
import os
import re
from functools import lru_cache

ALLOWED_HOSTS = "BURNISH_ALLOWED_HOSTS"
"""Variable with the hosts that jobs may name; empty allows all that are ever connected to."""
_NAME = re.compile(r"\.?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", re.ASCII)
_METADATA = frozenset(
    map(ipaddress.ip_address, ("100.100.100.200", "192.0.0.192", "fd00:ec2::254", "168.63.129.16"))
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def refused(address: str) -> bool:
    """Tells whether an address is one where only a cloud's metadata, or nobody, answers.

    Raises:
        ValueError: It is no address.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None and refused(str(inner)):
            return True
    return ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip in _METADATA


def refused_host(host: str) -> bool:
    """Tells whether a host is such an address; False for a name."""
    try:
        return refused(host)
    except ValueError:
        return False


def allowed_host(host: str, port: int) -> bool:
    """Tells whether the operator lets jobs send calls to a host, as BURNISH_ALLOWED_HOSTS says.

    Args:
        host: Name or address, without brackets.
        port: Port.
    """
    return _allow_list(os.environ.get(ALLOWED_HOSTS, "")).allows(host, port)


class AllowList:
    """Hosts that jobs may name.

    Entries are separated by commas: a name, a `.suffix` of names, an address, or a network such as
    `10.0.0.0/8`; each may end in `:port`, an IPv6 one then in brackets. A name is allowed by name
    only, whatever it resolves to.
    """

    def __init__(self, text: str) -> None:
        """Reads the entries; none allow every host.

        Raises:
            ValueError: Naming every entry that cannot be read.
        """
        self._names: list[tuple[str, int | None]] = []
        self._networks: list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, int | None]] = []
        entries = [entry.strip().lower() for entry in text.split(",") if entry.strip()]
        wrong = [entry for entry in entries if not self._take(entry)]
        if wrong:
            raise ValueError(
                f"{', '.join(f'`{entry}`' for entry in wrong)}: write a name, a `.suffix`, an "
                "address or a network, perhaps with `:port`"
            )

    def allows(self, host: str, port: int) -> bool:
        """Tells whether a host is on the list, or there is none."""
        if not self._names and not self._networks:
            return True
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            name = host.lower().rstrip(".")
            return any(
                only in (None, port) and (name.endswith(one) if one[0] == "." else name == one)
                for one, only in self._names
            )
        return any(only in (None, port) and address in one for one, only in self._networks)

    def _take(self, entry: str) -> bool:
        host, port = entry, ""
        if entry.startswith("["):
            host, _, port = entry[1:].partition("]")
            if port and not port.startswith(":"):
                return False
            port = port[1:]
        elif entry.count(":") == 1:
            host, _, port = entry.partition(":")
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            return False
        only = int(port) if port else None
        try:
            self._networks.append((ipaddress.ip_network(host), only))
        except ValueError:
            if _NAME.fullmatch(host) is None:
                return False
            self._names.append((host, only))
        return True


@lru_cache(maxsize=8)
def _allow_list(text: str) -> AllowList:
    return AllowList(text)
