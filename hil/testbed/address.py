"""Addresses as a testbed file writes them."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Annotated, Any, Final, Literal

from pydantic import PlainValidator, WithJsonSchema

DYNAMIC: Final = "dynamic"

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network


def _interface(value: object) -> IPInterface:
    """ADDRESS/PREFIX; without the prefix nobody knows which neighbours share the link."""
    if isinstance(value, IPv4Interface | IPv6Interface):
        return value
    if isinstance(value, str) and "/" in value:
        try:
            return ip_interface(value)
        except ValueError:
            pass
    raise ValueError(f"wants ADDRESS/PREFIX, as in 192.0.2.2/24; got {value!r}")


def _interface_v4(value: object) -> IPv4Interface:
    address = _interface(value)
    if isinstance(address, IPv6Interface):
        raise ValueError(f"wants an IPv4 address, as in 192.0.2.2/24; got {value!r}")
    return address


def _port_address(value: object) -> IPInterface | Literal["dynamic"] | None:
    if value is None or value == DYNAMIC:
        return value
    try:
        return _interface(value)
    except ValueError:
        raise ValueError(
            f"wants ADDRESS/PREFIX, as in 192.0.2.2/24, or dynamic; got {value!r}"
        ) from None


def _network(value: object) -> IPNetwork:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if isinstance(value, str) and "/" in value:
        try:
            return ip_network(value)
        except ValueError as error:
            raise ValueError(f"wants a network, as in 192.0.2.0/24; {error}") from None
    raise ValueError(f"wants a network, as in 192.0.2.0/24; got {value!r}")


def _host(value: object) -> IPAddress:
    if isinstance(value, IPv4Address | IPv6Address):
        return value
    try:
        return ip_address(str(value))
    except ValueError:
        raise ValueError(f"wants an address, as in 192.0.2.1; got {value!r}") from None


def _text(check: Callable[[object], Any], *examples: str) -> tuple[Any, Any]:
    return PlainValidator(check), WithJsonSchema({"type": "string", "examples": [*examples]})


_V4: Final = _text(_interface_v4, "192.0.2.2/24")
_PORT: Final = _text(_port_address, "192.0.2.2/24", "2001:db8::2/64", DYNAMIC)

_HOST: Final = _text(_host, "192.0.2.1")
_NETWORK: Final = _text(_network, "192.0.2.0/24")

InterfaceV4 = Annotated[IPv4Interface, *_V4]
"""An IPv4 address with its prefix length."""

PortAddress = Annotated[IPInterface | Literal["dynamic"] | None, *_PORT]
"""An address with its prefix length; ``dynamic`` where it changes and is read when needed."""

Network = Annotated[IPNetwork, *_NETWORK]
"""A network of either family, host bits zero."""

Host = Annotated[IPAddress, *_HOST]
"""An address of either family, without a prefix."""
