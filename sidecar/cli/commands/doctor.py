"""``micro doctor``: looks at a sidecar's settings, or at one that runs, and says what is wrong and how to mend it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from twisted.python import usage

from sidecar.cli.arguments import Wrong
from sidecar.cli.doctor import app, backends, certificates, port, process, sidecar
from sidecar.cli.doctor.diagnosis import Diagnosis, as_data, report
from sidecar.cli.invocation import Invocation, coloured
from sidecar.daemon import datadir
from sidecar.daemon.cmdline.options import Options, TextAsked
from sidecar.daemon.cmdline.settings import Settings


def doctor(invocation: Invocation) -> int:
    """:returns: 0 where all is well, 1 where something was found."""
    given = invocation.arguments
    if given.given("proxy_address") and not given.passed:
        diagnoses = list(sidecar.examine(invocation.api))
    else:
        diagnoses = list(examine(_settings(given.passed, dict(given.environ))))
    invocation.show(as_data(diagnoses), report(diagnoses, coloured(sys.stdout)))
    return int(any(each.level == "fault" for each in diagnoses))


def examine(settings: Settings) -> Iterator[Diagnosis]:
    """Everything that ``settings`` name, before a sidecar is started with them."""
    yield from port.examine(settings.listen)
    for engine in settings.registry.engines:
        yield from backends.examine("registry", engine)
    yield from backends.examine("broker", settings.broker.engine)
    for each in settings.apps:
        yield from app.examine(each)
    for what, file, key in _certificates(settings):
        if file:
            yield from certificates.examine(what, file, key)
    directory = datadir.place(settings, os.environ)
    yield from process.examine(str(directory.path) if directory is not None and directory.named else "")


def _certificates(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Whose certificate, in words, its file, "" for none, and that of its key."""
    ports = [("", settings.tls), *((f" for {app.name}", app.tls) for app in settings.apps)]
    for whose, tls in ports:
        if tls.enabled:
            yield f"certificate{whose}", tls.cert_file, tls.key_file
            yield f"client authority{whose}", tls.client_ca_file, ""
    nodes = settings.client.tls
    yield "authority of nodes", nodes.ca_file, ""
    yield "certificate for nodes", nodes.cert_file, nodes.key_file
    for role, engine in (*(("registry", one) for one in settings.registry.engines), ("broker", settings.broker.engine)):
        yield f"{role} certificate", engine.ca_file, ""
        yield f"{role} certificate", engine.cert_file, engine.key_file


def _settings(passed: list[str], environ: dict[str, str]) -> Settings:
    options = Options(environ, program="micro doctor")
    try:
        options.parseOptions(passed)
    except usage.UsageError as error:
        raise Wrong(str(error)) from None
    except TextAsked as asked:
        raise Wrong(asked.text) from None
    return options.settings
