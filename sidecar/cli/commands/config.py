"""``micro check-config``: whether a sidecar would start with these flags, variables and file, and what it would do."""

from __future__ import annotations

from typing import Any

from twisted.python import usage

from sidecar.cli import output
from sidecar.cli.arguments import Wrong
from sidecar.cli.invocation import Invocation
from sidecar.daemon import exposure
from sidecar.daemon.cmdline.flags import FLAGS
from sidecar.daemon.cmdline.options import Options, TextAsked
from sidecar.daemon.cmdline.sources import printable
from sidecar.errors import UnsafeSetting
from sidecar.redaction import redacted


def check_config(invocation: Invocation) -> int:
    """:returns: 0 where all is well. :raises Wrong: something is not, with its line."""
    options = Options(dict(invocation.arguments.environ), program="micro check-config")
    try:
        options.parseOptions(invocation.arguments.passed)
        exposure.check(options.settings)
    except (usage.UsageError, UnsafeSetting) as error:
        raise Wrong(redacted(str(error))) from None
    except TextAsked as asked:
        raise Wrong(asked.text) from None
    if invocation.arguments.given("explain"):
        rows = explained(options)
        table = output.columns(("SETTING", "VALUE", "FROM"), [tuple(row.values()) for row in rows])
        return invocation.show(rows, "\n".join([table, *_warnings(options)]))
    apps = ", ".join(app.name for app in options.settings.apps) or "none"
    told = {"file": options.file.path, "apps": [app.name for app in options.settings.apps]}
    said = f"{options.file.path or 'no file'}: all is well; apps: {apps}"
    return invocation.show({**told, "warnings": list(options.warnings)}, "\n".join([said, *_warnings(options)]))


def _warnings(options: Options) -> list[str]:
    return [f"warning: {warning}" for warning in options.warnings]


def explained(options: Options) -> list[dict[str, Any]]:
    """:returns: each setting with its value, without secrets, and what it came from."""
    rows: list[dict[str, Any]] = []
    for flag in FLAGS:
        given = options.given.get(flag.name)
        value = flag.default if given is None else given.shown(flag)
        rows.append({"setting": flag.name, "value": value, "from": "default" if given is None else given.where})
    for table in options.file.apps:
        rows += _of_table("app", table)
        for check in table.tables("check"):
            rows += _of_table("app.check", check)
    return rows


def _of_table(name: str, table: Any) -> list[dict[str, Any]]:
    return [
        {"setting": f"{name}.{key}", "value": printable(redacted(str(value))), "from": table.where(key)}
        for key, value in table.values.items()
        if key != "check"
    ]
