"""How much each sender may say: a bucket of tokens a sender, in bounded memory. Pure."""

from __future__ import annotations

from attrs import define, field


@define(eq=False)
class _Bucket:
    tokens: float
    filled: float


@define(eq=False)
class TokenBuckets:
    """Lets ``burst`` through at once and ``rate`` a second after that, for each sender.

    :ivar senders: how many are told apart; the one that was quiet for longest is forgotten first.
    """

    rate: float
    burst: float
    senders: int = 1024
    _buckets: dict[str, _Bucket] = field(factory=dict)

    def admits(self, sender: str, now: float) -> bool:
        """Whether one more of ``sender`` is to be looked at. :param now: seconds."""
        bucket = self._buckets.pop(sender, None)
        if bucket is None:
            bucket = _Bucket(self.burst, now)
            if len(self._buckets) >= self.senders:
                del self._buckets[next(iter(self._buckets))]
        self._buckets[sender] = bucket
        bucket.tokens = min(self.burst, bucket.tokens + (now - bucket.filled) * self.rate)
        bucket.filled = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True
