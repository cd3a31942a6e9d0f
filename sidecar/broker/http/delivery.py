"""Posts to subscribers: each gets its messages in order, one at a time, out of a bounded queue of its own."""

from __future__ import annotations

from collections import deque

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime

from sidecar.errors import EngineUnavailable, SidecarError
from sidecar.net.client.fetcher import Fetcher, excerpt
from sidecar.wire.httpbroker import Place

#: What may wait for one subscriber.
MAX_MESSAGES, MAX_BYTES = 1024, 16 * 1024 * 1024
#: Seconds that one post may take, and that a subscriber which did not answer in them is left alone.
PATIENCE, REST = 5.0, 5.0


@frozen(eq=False)
class _Delivery:
    body: bytes
    done: Deferred[None]


@define(eq=False)
class _Courier:
    """Goes to one place."""

    place: Place
    parcels: deque[_Delivery] = field(factory=deque)
    size: int = 0


@define(eq=False)
class DeliveryQueues:
    """One courier a place, for as long as there is something to bring."""

    _agent: Fetcher
    _clock: IReactorTime
    _busy: dict[str, _Courier] = field(factory=dict)
    _resting: dict[str, float] = field(factory=dict)
    _stopped: bool = False

    def bring(self, place: Place, body: bytes) -> Deferred[None]:
        """Post ``body`` after all that was to be brought there before.

        :returns: fires when the subscriber took it. :raises EngineUnavailable: it did not.
        """
        if self._stopped:
            return fail(EngineUnavailable("the HTTP broker is stopped"))
        if self._rests(place):
            return fail(EngineUnavailable(f"{place.url} did not answer a moment ago"))
        courier = self._busy.get(place.url)
        if courier is not None and (len(courier.parcels) >= MAX_MESSAGES or courier.size + len(body) > MAX_BYTES):
            return fail(EngineUnavailable(f"{place.url} does not keep up: {len(courier.parcels)} messages wait for it"))
        parcel = _Delivery(body, Deferred())
        idle = courier is None
        if courier is None:
            courier = self._busy[place.url] = _Courier(place)
        courier.parcels.append(parcel)
        courier.size += len(body)
        if idle:
            Deferred.fromCoroutine(self._walk(courier))
        return parcel.done

    def stop(self) -> None:
        """Bring no more; what waits fails."""
        self._stopped = True
        for courier in list(self._busy.values()):
            self._fail(courier, EngineUnavailable("the HTTP broker is stopping"))

    async def _walk(self, courier: _Courier) -> None:
        while courier.parcels:
            parcel = courier.parcels[0]
            error = await self._post(courier.place, parcel.body)
            if not courier.parcels:
                break  # stopped meanwhile
            courier.parcels.popleft()
            courier.size -= len(parcel.body)
            if error is None:
                _settle(parcel, None)
            else:
                _settle(parcel, error)
                if self._rests(courier.place):
                    self._fail(courier, error)
        self._busy.pop(courier.place.url, None)

    async def _post(self, place: Place, body: bytes) -> EngineUnavailable | None:
        began = self._clock.seconds()
        try:
            response = await self._agent.request(
                "POST", place.url, {"Content-Type": "application/json"}, body, timeout=PATIENCE
            )
        except SidecarError as error:
            if self._clock.seconds() - began >= PATIENCE:
                self._resting[place.url] = self._clock.seconds() + REST
            return EngineUnavailable(str(error))
        if response.status == 200:
            return None
        return EngineUnavailable(f"{place.url} answered {response.status}: {excerpt(response.body)}")

    def _rests(self, place: Place) -> bool:
        until = self._resting.get(place.url)
        if until is None:
            return False
        if until > self._clock.seconds():
            return True
        del self._resting[place.url]
        return False

    @staticmethod
    def _fail(courier: _Courier, error: EngineUnavailable) -> None:
        waiting = list(courier.parcels)
        courier.parcels.clear()
        courier.size = 0
        for parcel in waiting:
            _settle(parcel, error)


def _settle(parcel: _Delivery, error: EngineUnavailable | None) -> None:
    if parcel.done.called:
        return
    if error is None:
        parcel.done.callback(None)
    else:
        parcel.done.errback(error)
