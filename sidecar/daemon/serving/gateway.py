"""What is on the paths that are not ours, and at ``/`` for go-micro clients, as the settings have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from twisted.web.resource import IResource

from sidecar.daemon.cmdline.settings import Settings
from sidecar.interfaces import IAppHealth, IClient, IRegistry
from sidecar.model import CallPolicy
from sidecar.rpc.proxy.transport import ForwardTransport
from sidecar.web.cors import CorsPolicy
from sidecar.web.gateway.paths import PathResource
from sidecar.web.gateway.proxy import ProxyResource
from sidecar.web.gateway.transparent import TransparentResource
from sidecar.web.resource import Renderer
from sidecar.web.rpc import RpcResource
from sidecar.web.tree import OWN, IGateway


def calling(
    settings: Settings,
    reactor: Any,
    registry: IRegistry,
    client: IClient,
    policy: CallPolicy,
    apps: Mapping[str, IAppHealth],
    cors: CorsPolicy,
    forwards: ForwardTransport | None,
) -> tuple[RpcResource, IGateway, Callable[[Renderer], IResource]]:
    """The resources that call services: by ``/rpc``, by path, and at ``/`` as a proxy of go-micro clients.

    :param policy: how hard calls are tried. :param apps: how the apps beside us are, by name.
    :param cors: says whose pages may open WebSockets. :param forwards: makes paths of services proxies."""
    common = (
        client,
        policy,
        settings.http.max_body,
        apps,
        settings.client.selector,
        reactor.seconds,
        settings.log.access == "all",
    )
    namespace = settings.gateway.namespace
    if forwards is not None:
        choosing = (settings.client.selector, reactor.seconds, settings.log.access == "all")
        paths: IGateway = ProxyResource(registry, namespace, cors, forwards, client, policy, apps, *choosing)
    else:
        paths = PathResource(registry, namespace, OWN, *common)
    return RpcResource(*common), paths, partial(_transparent, common)


def _transparent(common: tuple[Any, ...], index: Renderer) -> IResource:
    return TransparentResource(index, *common)
