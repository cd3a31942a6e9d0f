"""To which nodes a call may go: any of its service, those of one version, or the one at an address that it names."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sidecar.errors import BadRequest, Forbidden, NotFound
from sidecar.interfaces import ISelector
from sidecar.model import Call, Node


def first(selector: ISelector, call: Call, any_address: bool) -> Node | Deferred[Node]:
    """The node to try first.

    :param any_address: whether a call may name an address at which no node of its service is registered.
    :raises NotFound: no such service, or version. :raises NoNodes: the service has no node.
    :raises BadRequest: the address is none. :raises Forbidden: no node of the service is registered at the address.
    """
    if call.address is None:
        return selector.first(call.service, call.version)
    host, colon, port = call.address.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or not 0 < int(port[:6]) < 65536:
        raise BadRequest(f"invalid address: {call.address[:100]!r} is not host:port")
    try:
        found = selector.find(call.service, call.address, call.version)
    except NotFound:
        if not any_address:
            raise
        found = None
    if isinstance(found, Deferred):
        arguments = (call, any_address)
        return found.addCallbacks(_permitted, _unknown, callbackArgs=arguments, errbackArgs=arguments)
    return _permitted(found, call, any_address)


def others(selector: ISelector, call: Call, tried: Node) -> Iterator[Node]:
    """Where to go on after ``tried`` failed."""
    return selector.others(call.service, call.version, tried) if call.address is None else iter(())


def _permitted(node: Node | None, call: Call, any_address: bool) -> Node:
    if node is not None:
        return node
    assert call.address is not None
    if not any_address:
        raise Forbidden(
            f"address: no node of {call.service} is registered at {call.address}; "
            "register it, or start the sidecar with --rpc_any_address"
        )
    host, _, port = call.address.rpartition(":")
    return Node("unregistered", host.removeprefix("[").removesuffix("]"), int(port))


def _unknown(failure: Failure, call: Call, any_address: bool) -> Node:
    if not any_address:
        return failure  # type: ignore[return-value]  # passed on, as errbacks do
    failure.trap(NotFound)
    return _permitted(None, call, any_address)
