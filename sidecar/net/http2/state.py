"""What h2 keeps of a client connection, set up as we speak it."""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.settings

#: Bytes that the peer may send before we acknowledge: a stream's share, and the whole connection's.
STREAM_WINDOW = 1 * 1024 * 1024
CONNECTION_WINDOW = 16 * 1024 * 1024


class ClientState(h2.connection.H2Connection):
    """h2's own, but a GOAWAY ends no stream that it does not name.

    h2 takes the connection for closed at a GOAWAY, and whatever comes after it for an error. A server that leaves
    gracefully goes on (RFC 9113, 6.8): grpc-go pings next, to learn when its GOAWAY was read, and then sends the
    answers that are still due.
    """

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

    def _receive_goaway_frame(self, frame: Any) -> Any:
        before = self.state_machine.state
        result = super()._receive_goaway_frame(frame)
        self.state_machine.state = before
        return result
