"""URLs for people to read: in messages, logs and documents of ours. Pure."""

from __future__ import annotations

import re

#: What may stand in a URL before its host, and after its path; both may be secret.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^/?#\s'\"<>]*@)?([^\s'\"<>?#,]*)([?#][^\s'\"<>,;)]*)?")

#: A user and a password before a host, where no scheme tells that this is a URL.
_LOGIN = re.compile(r"(?<![\w/@.])[^\s,=/@'\"]+:[^\s,/@'\"]+@(?=[\w\[])")


def redacted(text: str) -> str:
    """:param text: anything with or without URLs in it.
    :returns: the same without what may be secret in a URL: user and password, query and fragment."""
    return _LOGIN.sub("...@", _URL.sub(_redact, text))


def _redact(found: re.Match[str]) -> str:
    scheme, user, rest, query = found.groups()
    # A password with "/" or "?" in it, which nobody escaped, stands before the last "@" all the same.
    _, at, host = f"{rest}{query or ''}".rpartition("@")
    if at and not query:
        return f"{scheme}...@{host}"
    return f"{scheme}{'...@' if user else ''}{rest}{query[0] + '...' if query else ''}"
