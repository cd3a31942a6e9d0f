"""The access log: a line for each answer that is an error, or for every one."""

from __future__ import annotations

from typing import Any, Final, Literal

from attrs import define
from twisted.logger import Logger, LogLevel

from sidecar.web.requests.requestids import request_id
from sidecar.web.requests.traces import trace_id

AccessMode = Literal["off", "errors", "all"]

#: Constant, so that collectors group the lines; the fields tell the rest.
_FORMAT: Final = (
    "{method} {route} answered {status} to {caller} in {seconds} s{log_what}{log_because} (request {request_id})"
)


@define(eq=False)
class AccessLog:
    """Logs answers. :ivar mode: ``all``, or ``errors``: those whose status is 400 or more."""

    log = Logger()

    mode: AccessMode

    def answered(self, request: Any, status: int, size: int, caller: str) -> None:
        """An answer goes out.

        :param request: one of our channel's; ``call``, ``attempts`` and ``why`` are told where a resource set them.
        :param size: bytes of the body. :param caller: where it came from.
        """
        if status < 400 and self.mode != "all":
            return
        channel = request.channel
        call, attempts = getattr(request, "call", None), getattr(request, "attempts", ())
        why = getattr(request, "why", "") or ""
        seconds = 0.0
        if channel is not None and request.started:
            seconds = round(channel.site.clock.seconds() - request.started, 6)
        service, called = (call.service, call.method) if call is not None else ("", "")
        self.log.emit(
            LogLevel.warn if status >= 500 else LogLevel.info,
            _FORMAT,
            request_id=request_id(request),
            trace_id=trace_id(request),
            caller=caller or "a local peer",
            method=request.method.decode("ascii", "backslashreplace"),
            route=request.path.decode("utf-8", "backslashreplace")[:200],
            service=service,
            called=called,
            status=status,
            bytes=size,
            seconds=seconds,
            attempts=len(attempts),
            why=why,
            log_what=f", calling {service} {called}" if service else "",
            log_because=f": {why}" if why else "",
            log_unthrottled=self.mode == "all",
        )
