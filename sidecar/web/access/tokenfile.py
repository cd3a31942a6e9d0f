"""The file of tokens: it holds hashes and never a token. Pure but for the reading and writing of the file.

A table each, which ``micro token`` writes::

    [[token]]
    name = "web"
    hash = "sha256:9f86d081..."
    roles = ["call", "read"]
    services = ["shop.*"]
    topics = ["shop.*"]
    expires = "2027-01-31T12:00:00Z"

A token is 256 random bits, so one SHA-256 is enough: there is nothing to guess that a slow hash would slow down.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from sidecar.errors import ConfigError
from sidecar.web.access.grants import ANY, Grant, check_name, date, read_grant

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: How a token of ours begins, so that people and scanners for secrets know it.
PREFIX: Final = "micro_"
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
#: Bytes of the largest file that is read.
_MOST = 16 * 1024 * 1024


@frozen
class Token:
    """What is kept of a token. :ivar digest: its SHA-256."""

    grant: Grant
    digest: bytes


def make() -> str:
    """:returns: a new token, of letters that a header and a WebSocket subprotocol can hold."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(token: bytes) -> bytes:
    return sha256(token).digest()


def find(tokens: Iterable[Token], shown: bytes) -> Token | None:
    """Find a token in a time that says nothing of those there are. :param shown: what a caller shows."""
    digest, found = digest_of(shown), None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            found = token
    return found


def parse(text: str, where: str) -> tuple[Token, ...]:
    """:param where: the file, for messages. :raises ConfigError: the file cannot be understood."""
    return tuple(_read(table, where, number) for number, table in enumerate(tables(text, where, "token"), 1))


def read(path: str) -> tuple[Token, ...]:
    """:raises ConfigError: the file cannot be read or understood."""
    return parse(load(path), path)


def load(path: str) -> str:
    """:returns: the text of a file of ours. :raises ConfigError: it cannot be read."""
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST + 1)
        if len(content) > _MOST:
            raise ConfigError(f"{path}: is longer than {_MOST} bytes")
        return content.decode()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is no text in UTF-8") from None


def values(text: str, where: str) -> dict[str, Any]:
    """:raises ConfigError: it is no TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: {error}") from None


def tables(text: str, where: str, name: str) -> list[dict[str, Any]]:
    """:returns: the tables ``[[name]]`` of a file, which holds nothing else. :raises ConfigError: it does."""
    read = values(text, where)
    found = read.pop(name, [])
    if read or not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ConfigError(f"{where}: it holds tables [[{name}]] and nothing else, and there is {[*read, name][0]!r}")
    return found


def write(path: str, tokens: Iterable[Token]) -> None:
    """Write the file in one step: whoever reads it meanwhile finds the old one or the new one. Its permissions stay; a
    new one is its owner's alone. :raises OSError: it cannot be written."""
    text = "# Tokens of microsidecar, written by `micro token`: their hashes; a token is shown once, when made.\n"
    text += "".join(_written(token) for token in tokens)
    target = Path(os.path.realpath(path))
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if target.exists():
                known = target.stat()
                os.fchmod(file.fileno(), known.st_mode & 0o7777)
                if (known.st_uid, known.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), known.st_uid, known.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _read(table: dict[str, Any], where: str, number: int) -> Token:
    name, kept = table.pop("name", None), table.pop("hash", None)
    place = f"{where}: token {name if isinstance(name, str) else number}"
    found = _HASH.fullmatch(kept) if isinstance(kept, str) else None
    if found is None:
        raise ConfigError(f"{place}: hash is not sha256: and 64 hexadecimal digits")
    try:
        check_name(name if isinstance(name, str) else "")
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from None
    assert isinstance(name, str)
    return Token(read_grant(name, table, place), bytes.fromhex(found[1]))


def _written(token: Token) -> str:
    grant = token.grant
    lines = ["", "[[token]]", f"name = {_text(grant.name)}", f'hash = "sha256:{token.digest.hex()}"']
    lines.append(f"roles = {_list(sorted(grant.roles))}")
    for key, patterns in (("services", grant.services), ("topics", grant.topics)):
        if patterns != ANY:
            lines.append(f"{key} = {_list(patterns)}")
    if grant.expires is not None:
        lines.append(f'expires = "{date(grant.expires)}"')
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, texts))}]"
