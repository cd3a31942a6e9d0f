"""The NATS link before the real server: who may come in, encrypted or not, and through outages."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
import uuid
from importlib import import_module
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from sidecar.model import BackendOptions
from sidecar.net.errors import InvalidSetting, Unavailable
from sidecar.net.nats.access import NatsServers
from sidecar.net.nats.client import Interest, NatsClient
from sidecar.test.doubles import certificates
from sidecar.test.doubles.programs import process

reactor: Any = installed


async def sleep(seconds: float) -> None:
    await deferLater(reactor, seconds, lambda: None)


class Real(TestCase):
    """Starts servers, and links to them."""

    timeout = 120
    skip = process.missing("nats-server")

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()
        self.port = process.free_port()

    def server(self, *arguments: str) -> process.Program:
        server = process.start_nats(self.port, arguments)
        self.addCleanup(server.stop)
        return server

    def file(self, name: str, text: str) -> str:
        path = self.home / name
        path.write_text(text)
        return str(path)

    def link(self, address: str = "", **options: Any) -> NatsClient:
        access = NatsServers.from_options(
            BackendOptions(reactor, addresses=(address or f"127.0.0.1:{self.port}",), **options)
        )
        link = NatsClient(reactor, access, "test")
        link.startService()
        self.addCleanup(link.stopService)
        return link

    async def works(self, link: NatsClient) -> None:
        """A message goes there and back."""
        while not link.connected:
            await sleep(0.01)
        arrived: Deferred[bytes] = Deferred()
        subject = f"there.and.back.{uuid.uuid4()}"
        await link.subscribe(Interest(subject, lambda subject, reply, payload: arrived.callback(payload)))
        await link.publish(subject, b"x")
        self.assertEqual(await arrived, b"x")

    async def fails(self, link: NatsClient, *words: str) -> None:
        """It stays out, and says why."""
        while not any(word in link.detail.lower() for word in words):
            await sleep(0.01)
        self.assertFalse(link.connected)


class Credentials(Real):
    async def test_user(self) -> None:
        """User and password, from options or from the address; wrong ones are said to be the trouble."""
        self.server("--user", "joe", "--pass", "s3cret/@")
        await self.works(self.link(username="joe", password="s3cret/@"))
        await self.works(self.link(f"nats://joe:s3cret%2F%40@127.0.0.1:{self.port}"))
        await self.fails(self.link(username="joe", password="wrong"), "authorization")
        await self.fails(self.link(), "authorization")

    async def test_token(self) -> None:
        """A token, from options or from the address."""
        self.server("--auth", "t0ken")
        await self.works(self.link(token="t0ken"))
        await self.works(self.link(f"nats://t0ken@127.0.0.1:{self.port}"))
        await self.fails(self.link(token="wrong"), "authorization")

    async def test_nkey(self) -> None:
        """An nkey: its seed in a file."""
        seed, public = a_key("USER")
        users = f'authorization {{ users = [ {{ nkey: "{public}" }} ] }}'
        self.server("-c", self.file("nats.conf", users))
        await self.works(self.link(credentials_file=self.file("seed", seed + "\n")))
        await self.fails(self.link(credentials_file=self.file("other", a_key("USER")[0])), "authorization")

    async def test_creds(self) -> None:
        """A .creds file: a JWT that an account signed, and the seed."""
        operator, account, system, user = (a_key(kind) for kind in ("OPERATOR", "ACCOUNT", "ACCOUNT", "USER"))
        limits = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True, "conn": -1}
        everything = {"limits": limits, "default_permissions": {"pub": {}, "sub": {}}, "type": "account", "version": 2}
        accounts = {
            public: a_token(operator, public, everything | {"limits": {**limits, "leaf": -1}})
            for _, public in (account, system)
        }
        operators = a_token(operator, operator[1], {"type": "operator", "version": 2, "system_account": system[1]})
        preload = "\n".join(f"{public}: {token}" for public, token in accounts.items())
        self.server(
            "-c",
            self.file("nats.conf", f"operator: {operators}\nresolver: MEMORY\nresolver_preload: {{\n{preload}\n}}\n"),
        )
        rights = {"type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1}
        token = a_token(account, user[1], rights)
        creds = (
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user[0]}\n------END USER NKEY SEED------\n"
        )
        await self.works(self.link(credentials_file=self.file("user.creds", creds)))


class Encrypted(Real):
    async def test_tls(self) -> None:
        """TLS is spoken where the server wants it or the address asks for it, and the server must prove its name."""
        authority = certificates.authority(self.home)
        certificate, key = authority.issue("server")
        self.server("--tls", "--tlscert", certificate, "--tlskey", key, "--auth", "t0ken")
        ca_file = authority.ca_file
        await self.works(self.link(token="t0ken", ca_file=ca_file))
        await self.works(self.link(token="t0ken", ca_file=ca_file, tls=True))
        await self.works(self.link(f"tls://t0ken@localhost:{self.port}", ca_file=ca_file))
        await self.fails(self.link(token="t0ken", tls=True), "certificate")

    async def test_client_certificate(self) -> None:
        """A certificate of ours is shown where one is asked for."""
        authority = certificates.authority(self.home)
        certificate, key = authority.issue("server")
        self.server("--tlsverify", "--tlscert", certificate, "--tlskey", key, "--tlscacert", authority.ca_file)
        ours, our_key = authority.issue("ours")
        await self.works(self.link(ca_file=authority.ca_file, cert_file=ours, key_file=our_key))
        await self.fails(self.link(ca_file=authority.ca_file), "certificate", "eof", "lost", "reset", "alert")

    async def test_not_offered(self) -> None:
        """Where TLS was asked for, a server without it is refused."""
        self.server()
        await self.fails(self.link(tls=True, token="t0ken"), "tls")
        await self.fails(self.link(f"tls://127.0.0.1:{self.port}"), "tls")

    def test_files(self) -> None:
        """A certificate file that cannot be used is named before anything connects."""
        broken = self.file("broken.pem", "no certificate")
        for options in (
            BackendOptions(reactor, ca_file=broken),
            BackendOptions(reactor, cert_file=broken, key_file=broken),
            BackendOptions(reactor, ca_file="/nonexistent"),
        ):
            error = self.assertRaises(InvalidSetting, NatsServers.from_options, options)
            self.assertIn(options.ca_file or options.cert_file, str(error))


class Outage(Real):
    async def test_killed(self) -> None:
        """The server is killed and started again: the link is back by itself, its subscriptions too; a publish is
        confirmed or failed, and never neither."""
        server = process.start_nats(self.port)
        link = self.link()
        await self.works(link)
        heard: list[bytes] = []
        await link.subscribe(Interest("t", lambda subject, reply, payload: heard.append(payload)))
        confirmed: list[bytes] = []

        async def keep_publishing(until: float) -> int:
            failed = number = 0
            while reactor.seconds() < until:
                number += 1
                try:
                    await link.publish("t", b"%d" % number)
                    confirmed.append(b"%d" % number)
                except Unavailable:
                    failed += 1
                await sleep(0.005)
            return failed

        publishing = Deferred.fromCoroutine(keep_publishing(reactor.seconds() + 5.0))
        await sleep(1.0)
        server.kill()
        await sleep(1.0)
        server = process.start_nats(self.port)
        self.addCleanup(server.stop)
        failed = await publishing
        self.assertTrue(link.connected)
        self.assertGreater(failed, 0)
        while len(heard) < len(confirmed):
            await sleep(0.01)
        self.assertEqual([body for body in heard if body in set(confirmed)], confirmed)

    async def test_several_servers(self) -> None:
        """Of several addresses the next one is used where one is dead."""
        self.server()
        dead = process.free_port()
        access = NatsServers.from_options(BackendOptions(reactor, (f"127.0.0.1:{dead}", f"127.0.0.1:{self.port}")))
        link = NatsClient(reactor, access, "test")
        link.startService()
        self.addCleanup(link.stopService)
        await self.works(link)
        self.assertEqual(link.address, f"127.0.0.1:{self.port}")


# --- Keys and tokens as NATS wants them -------------------------------------------------------------------------------


def a_key(kind: str) -> tuple[str, str]:
    """:returns: an nkey's seed and its public key."""
    nkeys = import_module("nkeys")  # which has no types
    seed = nkeys.encode_seed(os.urandom(32), getattr(nkeys, f"PREFIX_BYTE_{kind}"))
    public = nkeys.from_seed(bytearray(seed)).public_key
    return bytes(seed).decode(), bytes(public).decode()


def a_token(signer: tuple[str, str], subject: str, claims: dict[str, Any]) -> str:
    """A JWT in which ``signer`` says ``claims`` of ``subject``."""
    nkeys = import_module("nkeys")
    told = {"iat": int(time.time()), "iss": signer[1], "sub": subject, "name": subject[:8], "nats": claims}
    told["jti"] = base64.b32encode(hashlib.sha256(json.dumps(told).encode()).digest()).decode().rstrip("=")
    parts = [_packed({"typ": "JWT", "alg": "ed25519-nkey"}), _packed(told)]
    signature = nkeys.from_seed(bytearray(signer[0].encode())).sign(".".join(parts).encode())
    return ".".join([*parts, base64.urlsafe_b64encode(signature).decode().rstrip("=")])


def _packed(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
