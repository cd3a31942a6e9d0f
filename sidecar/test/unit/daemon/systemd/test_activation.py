"""Sockets that systemd hands over are found by their names, and only by the process that they are for."""

from __future__ import annotations

import os
import socket

from twisted.trial.unittest import SynchronousTestCase

from sidecar.daemon.systemd import activation


class Passed(SynchronousTestCase):
    def test_by_name(self) -> None:
        """Descriptors count from 3 and go by their names."""
        environ = {"LISTEN_FDS": "3", "LISTEN_PID": "7", "LISTEN_FDNAMES": "api:other:api"}
        self.assertEqual(activation.passed(environ, 7), {"api": [3, 5], "other": [4]})

    def test_for_somebody_else(self) -> None:
        """What was handed to another process (a parent) is not ours."""
        self.assertEqual(activation.passed({"LISTEN_FDS": "1", "LISTEN_PID": "8"}, 7), {})

    def test_nonsense(self) -> None:
        """Variables that are no numbers hand over nothing."""
        for count in ("", "x", "-1", "¹"):
            self.assertEqual(activation.passed({"LISTEN_FDS": count, "LISTEN_PID": "7"}, 7), {})


class ApiSocket(SynchronousTestCase):
    def hand_over(self, sock: socket.socket) -> None:
        """Put ``sock`` where systemd would."""
        self.patch(activation, "FIRST", sock.fileno())
        self.addCleanup(sock.close)

    def test_the_only_one(self) -> None:
        """A single listening socket is the API's, whatever it is called."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.hand_over(listening)
        for name in ("api", "microsidecar.socket", ""):
            given = activation.api_socket({"LISTEN_FDS": "1", "LISTEN_PID": "7", "LISTEN_FDNAMES": name}, 7)
            assert given is not None
            self.addCleanup(given.close)
            self.assertEqual(given.getsockname(), listening.getsockname())
            self.assertFalse(os.get_inheritable(given.fileno()))

    def test_not_listening(self) -> None:
        """A socket that does not listen (a datagram socket) is left alone."""
        self.hand_over(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.assertIsNone(activation.api_socket({"LISTEN_FDS": "1", "LISTEN_PID": "7"}, 7))
