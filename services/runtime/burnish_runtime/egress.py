"""Addresses that are never connected to, whoever asks: cloud metadata's, and nobody's."""

from __future__ import annotations

import ipaddress

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
