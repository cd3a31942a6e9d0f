"""What h2 keeps of a connection, on either side, set up as we speak it."""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.settings

#: Bytes that the peer may send before we acknowledge: a stream's share, and the whole connection's.
STREAM_WINDOW = 1 * 1024 * 1024
CONNECTION_WINDOW = 16 * 1024 * 1024

#: Streams that a client may have open on one connection of ours.
MAX_STREAMS = 256


class GracefulState(h2.connection.H2Connection):
    """h2's own, but a GOAWAY ends no stream that it does not name.

    h2 takes the connection for closed at a GOAWAY, and whatever comes after it for an error. A peer that leaves
    gracefully goes on (RFC 9113, 6.8): grpc-go pings next, to learn when its GOAWAY was read, and then sends the
    answers that are still due.
    """

    def _receive_goaway_frame(self, frame: Any) -> Any:
        before = self.state_machine.state
        result = super()._receive_goaway_frame(frame)
        self.state_machine.state = before
        return result

    def say_goodbye(self) -> None:
        """Announce that no further stream is taken; those that are open go on."""
        before = self.state_machine.state
        self.close_connection()
        self.state_machine.state = before


class ClientState(GracefulState):
    """The client's side."""

    def __init__(self) -> None:
        super().__init__(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=False)
        )
        self.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 64 * 1024,
            },
        )

    def begin(self) -> None:
        """Greet the peer."""
        self.initiate_connection()
        self.increment_flow_control_window(CONNECTION_WINDOW - 65535)


class ServerState(GracefulState):
    """The server's side."""

    def __init__(self, max_header: int = 64 * 1024) -> None:
        """:param max_header: bytes of the header of one request, as HTTP/2 counts them."""
        super().__init__(h2.config.H2Configuration(client_side=False, header_encoding="latin-1"))
        self.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: max_header,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            },
        )
        self.decoder.max_header_list_size = max_header  # before the peer has acknowledged it, too
