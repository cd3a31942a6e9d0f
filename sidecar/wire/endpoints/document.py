"""A document of an app's endpoints: go-micro's JSON as ``/registry`` has it, or an OpenAPI 3 document. Pure."""

from __future__ import annotations

import orjson

from sidecar.model import Endpoint
from sidecar.wire import rawjson, services
from sidecar.wire.endpoints import openapi
from sidecar.wire.endpoints.declared import without_twins
from sidecar.wire.fields import RegistrationLimits, WrongField


def read(body: bytes, limits: RegistrationLimits | None = None) -> tuple[Endpoint, ...]:
    """Read either form. An object with ``endpoints`` in it, such as a whole service, has go-micro's form too.

    :param limits: how many endpoints there may be. :raises ValueError: it is neither, with what is wrong.
    """
    most = (limits or RegistrationLimits()).endpoints
    try:
        said = orjson.loads(rawjson.without_bom(body))
    except orjson.JSONDecodeError as error:
        hint = "; OpenAPI in YAML is not read, convert it to JSON" if b"openapi:" in body[:4096] else ""
        raise ValueError(f"it is not JSON: {error}{hint}") from None
    try:
        if isinstance(said, dict) and "openapi" in said:
            found = openapi.endpoints(said)
        else:
            listed = (
                next((v for k, v in said.items() if k.lower() == "endpoints"), None) if isinstance(said, dict) else said
            )
            if not isinstance(listed, list):
                raise ValueError(
                    'it is neither a list of endpoints, [{"name":"Say.Hello"}], nor an OpenAPI 3 document in JSON'
                )
            found = tuple(services.read_endpoint(item, f"[{index}]") for index, item in enumerate(listed))
    except WrongField as wrong:
        raise ValueError(str(wrong)) from None
    if len(found) > most:
        raise ValueError(f"it names {len(found)} endpoints, and {most} is the limit; see --max_endpoints")
    return without_twins(found)
