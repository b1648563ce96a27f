"""Pub/Sub to MQTT: acknowledged after the broker's PUBACK; what is wrong is said, and let go."""

import logging
from collections.abc import Callable
from threading import Event

from cloud_bridge.clocks import WAITS, Waits
from cloud_bridge.downlink.reading import Downward, read
from cloud_bridge.errors import BlockedError, TransientError
from cloud_bridge.ports import Clock, CommandSource, Link, Received, Reporter, Versions
from device.wire.errors import WireError

log = logging.getLogger(__name__)

PART = "downlink"
VERSIONS_PART = "downlink settings"
PUBACK_S = 10.0
AWAY_S = 0.5
OWED_AT_MOST = 1000
ATTRIBUTES_TOLD = 300
"""Characters of them: Pub/Sub takes 100 of a kilobyte each."""


class Sending:
    """The turn of one thread. pause: waits so many seconds, less when the bridge stops."""

    def __init__(
        self,
        source: CommandSource,
        link: Link,
        versions: Versions,
        registries: frozenset[str],
        clock: Clock,
        reporter: Reporter,
        pause: Callable[[float], object],
        jitter: Callable[[], float],
        waits: Waits = WAITS,
    ) -> None:
        self._source = source
        self._link = link
        self._versions = versions
        self._registries = registries
        self._clock = clock
        self._reporter = reporter
        self._pause = pause
        self._jitter = jitter
        self._waits = waits
        self._failures = 0
        self._owed: list[str] = []
        """Done with, and not acknowledged yet."""

    def turn(self) -> None:
        if not self._link.is_connected:
            self._pause(AWAY_S)  # what is not pulled is kept by Pub/Sub, and not counted as tried
            return
        try:
            received = self._source.pull()
            done = self._pass_on(received)
            # One that cannot be acknowledged comes again, and is sent again: nobody waits for it.
            self._owed = [*self._owed, *done][-OWED_AT_MOST:]
            if self._owed:
                self._source.acknowledge(self._owed)
                self._owed = []
        except TransientError as exc:
            self._failures += 1
            if self._failures > 1:
                self._reporter.trouble(PART, str(exc))
            self._pause(self._waits.retry(self._failures, self._jitter()))
        except BlockedError as exc:
            self._failures += 1
            self._reporter.trouble(PART, str(exc))
            self._pause(self._waits.blocked(self._failures, self._jitter()))
        else:
            if received and len(done) < len(received):
                self._pause(AWAY_S)
            elif self._failures:
                self._failures = 0
                self._reporter.well(PART)

    def _pass_on(self, received: list[Received]) -> list[str]:
        """The ack ids of what is done with: sent and acknowledged, or wrong."""
        done: list[str] = []
        under_way: list[tuple[Received, Downward, _Answer]] = []
        for each in received:
            try:
                downward = read(each, self._registries, self._clock.wall_ns())
                self._check_version(downward)
            except WireError as exc:
                # Nobody could ever send it: to keep it would bring it back for ever.
                told = str(dict(each.attributes))[:ATTRIBUTES_TOLD]
                log.warning("downlink refuses a message attributes=%s: %s", told, exc)
                self._reporter.add("down_refused")
                done.append(each.ack_id)
                continue
            except TransientError as exc:
                # It comes again; commands do not wait for it.
                self._reporter.trouble(VERSIONS_PART, str(exc))
                continue
            except Exception:
                # A mistake of ours: to die of it, again and again, would stop the events too.
                log.exception("downlink failed on a message attributes=%s", each.attributes)
                self._reporter.add("down_refused")
                done.append(each.ack_id)
                continue
            answer = _Answer()
            self._link.send(
                downward.topic,
                downward.payload,
                qos=1,
                retain=downward.is_retained,
                # Nobody keeps a command for a device that the broker does not know: it comes
                # again until it expires. Settings are retained.
                must_be_heard=not downward.is_retained,
                done=answer.give,
            )
            under_way.append((each, downward, answer))
        for each, downward, answer in under_way:
            problem = answer.wait(PUBACK_S)
            if problem is None:
                self._reporter.add("down_sent")
                done.append(each.ack_id)
            else:
                self._reporter.add("down_again")
                log.warning("downlink not sent, comes again topic=%s: %s", downward.topic, problem)
        return done

    def _check_version(self, downward: Downward) -> None:
        if downward.version is None or downward.digest is None:
            return
        newest = self._versions.admit(
            downward.registry, downward.device, downward.version, downward.digest
        )
        self._reporter.well(VERSIONS_PART)
        if newest is not None:
            raise WireError(
                f"desired settings of {downward.device}, version {downward.version}: version "
                f"{newest} went out already; want a larger one"
            )


class _Answer:
    """Given by the link's thread, waited for by the downlink's."""

    def __init__(self) -> None:
        self._given = Event()
        self._problem: str | None = None

    def give(self, problem: str | None) -> None:
        self._problem = problem
        self._given.set()

    def wait(self, timeout_s: float) -> str | None:
        return self._problem if self._given.wait(timeout_s) else "the broker does not acknowledge"
