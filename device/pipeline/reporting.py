"""What the box says of itself: `state` on every change that matters, telemetry every so often,
and an anchor when the clock was set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from device.pipeline.capture import Capture
from device.pipeline.decide import Loop
from device.pipeline.deliver import Delivery
from device.pipeline.journal import Journal
from device.pipeline.telling import region_sight
from device.ports import Clock, Vitals
from device.wire.bodies import Body, ClockAnchor, Telemetry
from device.wire.events import Draft, time_text
from device.wire.state import (
    Backend,
    BundleState,
    CertificateState,
    Degraded,
    DeliveryHealth,
    Losses,
    RefusedEvent,
    SettingsState,
    State,
    encode_part,
)

DAY_NS = 24 * 3600 * 1_000_000_000
CERTIFICATE_TOLD_DAYS = 90
CERTIFICATE_URGENT_DAYS = 30
CERTIFICATE_READ_NS = 3600 * 1_000_000_000

CLOCK_STEP_NS = 2_000_000_000
"""The two clocks always drift apart a little; more than this at once is a hand, or NTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What changes only with the settings."""

    version: str
    backend: Backend
    bundles: Sequence[BundleState]
    settings: SettingsState


@dataclass(frozen=True, slots=True)
class _Tuned:
    """Replaced whole, so that any thread may."""

    identity: Identity
    state_ns: int
    telemetry_ns: int


def _tuned(identity: Identity, state_s: float, telemetry_s: float) -> _Tuned:
    return _Tuned(identity, round(state_s * 1e9), round(telemetry_s * 1e9))


class Reporting:
    """Owned by the main thread, which calls `tick` about once a second."""

    def __init__(
        self,
        *,
        identity: Identity,
        loop: Loop,
        capture: Capture,
        delivery: Delivery,
        journal: Journal,
        clock: Clock,
        read_vitals: Callable[[], Vitals],
        state_s: float,
        telemetry_s: float,
        problems: Callable[[], Mapping[str, str]] = dict,
        certificate_expiry_ns: Callable[[], int | None] = lambda: None,
        messages_dropped: Callable[[], int] = lambda: 0,
    ) -> None:
        """state_s, telemetry_s: how often each is repeated. problems: of further parts, by name,
        for people. certificate_expiry_ns: when the box's certificate ends, by the wall clock;
        None: it has none. messages_dropped: of those that came down."""
        self._tuned = _tuned(identity, state_s, telemetry_s)
        self._certificate_expiry_ns = certificate_expiry_ns
        self._messages_dropped = messages_dropped
        self._expiry_ns: int | None = None
        self._expiry_read_ns: int | None = None
        self._loop = loop
        self._capture = capture
        self._delivery = delivery
        self._journal = journal
        self._clock = clock
        self._read_vitals = read_vitals
        self._problems = problems
        self._started_ns = clock.monotonic_ns()
        self._started = time_text(clock.wall_ns())
        self._told: object = None
        self._told_ns = 0
        self._telemetry_told_ns = self._started_ns
        self._clock_offset_ns = clock.wall_ns() - self._started_ns
        self._since: dict[str, tuple[str, str]] = {}

    def tick(self) -> None:
        """Tell what is due."""
        now_ns = self._clock.monotonic_ns()
        self._watch_clock(now_ns)
        if self._delivery.status().run is None:
            return  # a state without its run would tell nobody whose it is
        state = self.state()
        # What moves with every event is no reason to tell: it is repeated every `state_s`.
        present = [(sight.region, sight.present) for sight in state.sights]
        losses = state.losses.model_copy(update={"frames_replaced": 0})
        health = DeliveryHealth(mode=state.delivery.mode)
        quiet = {
            "time": "",
            "last_seq": 0,
            "waiting": 0,
            "sights": [],
            "losses": losses,
            "delivery": health,
        }
        matters = state.model_copy(update=quiet)
        if (matters, present) != self._told or now_ns - self._told_ns >= self._tuned.state_ns:
            self._told, self._told_ns = (matters, present), now_ns
            self._delivery.set_state(encode_part(state))
        if now_ns - self._telemetry_told_ns >= self._tuned.telemetry_ns:
            self._telemetry_told_ns = now_ns
            self._report(self._telemetry(now_ns))

    def state(self) -> State:
        """The box as it is now. Any thread."""
        snapshot = self._loop.snapshot
        delivery = self._delivery.status()
        identity = self._tuned.identity
        return State(
            time=time_text(self._clock.wall_ns()),
            run=str(delivery.run) if delivery.run is not None else "",
            last_seq=delivery.last_seq,
            waiting=delivery.waiting,
            version=identity.version,
            started=self._started,
            is_paused=snapshot.is_paused,
            camera=snapshot.camera,
            backend=identity.backend,
            bundles=list(identity.bundles),
            settings=identity.settings,
            sights=[
                region_sight(region, dict(snapshot.scores.get(region, ())), present)
                for region, present in snapshot.present.items()
            ],
            outputs=dict(snapshot.outputs),
            delivery=DeliveryHealth(
                mode=delivery.mode,
                receipts=delivery.send.receipts,
                repeated=delivery.send.repeated,
                unreadable=delivery.send.unreadable,
                unknown=delivery.send.unknown,
            ),
            certificate=self._certificate(),
            degraded=self._degraded(),
            losses=Losses(
                frames_replaced=snapshot.frames_replaced,
                events_expelled=delivery.expelled,
                events_oversize=delivery.oversize,
                events_not_durable=delivery.not_durable,
                events_refused=delivery.send.dead_letters,
                refused=[
                    RefusedEvent(event=event, reason=reason)
                    for event, reason in delivery.send.last_dead_letters
                ],
                messages_dropped=delivery.send.incoming_dropped + self._messages_dropped(),
                pictures_dropped=self._journal.dropped,
            ),
        )

    def change(self, identity: Identity, state_s: float, telemetry_s: float) -> None:
        """Other settings are in force. Any thread."""
        self._tuned = _tuned(identity, state_s, telemetry_s)

    def _certificate(self) -> CertificateState | None:
        """Read again every hour: it may have been renewed."""
        now_ns = self._clock.monotonic_ns()
        read_ns = self._expiry_read_ns
        if read_ns is None or now_ns - read_ns >= CERTIFICATE_READ_NS:
            self._expiry_ns, self._expiry_read_ns = self._certificate_expiry_ns(), now_ns
        if self._expiry_ns is None or self._clock.minute_of_day() is None:
            return None  # without a clock nobody knows
        days = (self._expiry_ns - self._clock.wall_ns()) // DAY_NS
        if days >= CERTIFICATE_TOLD_DAYS:
            return None
        return CertificateState(expires=time_text(self._expiry_ns), days_left=days)

    def _certificate_problem(self) -> str | None:
        certificate = self._certificate()
        if certificate is None or certificate.days_left >= CERTIFICATE_URGENT_DAYS:
            return None
        when = "has expired" if certificate.days_left < 0 else "expires soon"
        return (
            f"the box's certificate {when} ({certificate.expires}): make a new one with "
            "`lookout-cloud device renew` and put it in place of [mqtt.tls] cert_file and key_file"
        )

    def _degraded(self) -> list[Degraded]:
        delivery = self._delivery.status()
        problems = {
            "camera": self._capture.problem,
            "disk": delivery.disk_problem,
            "album": self._journal.problem,
            "broker": None if delivery.is_connected else delivery.problem,
            **self._loop.snapshot.problems,
            **self._problems(),
            "receipts": delivery.send.receipts_problem,
            "certificate": self._certificate_problem(),
        }
        since = {}
        for part, problem in problems.items():
            if problem is not None:
                known = self._since.get(part)
                start = known[0] if known is not None else time_text(self._clock.wall_ns())
                since[part] = (start, problem)
        self._since = since
        return [
            Degraded(part=part, since=start, reason=reason)
            for part, (start, reason) in since.items()
        ]

    def _telemetry(self, now_ns: int) -> Telemetry:
        snapshot = self._loop.snapshot
        delivery = self._delivery.status()
        vitals = self._read_vitals()
        return Telemetry(
            uptime_s=(now_ns - self._started_ns) / 1e9,
            frames=snapshot.frames,
            frames_replaced=snapshot.frames_replaced,
            looks=snapshot.looks,
            dismissed=snapshot.dismissed,
            inference_ms=None if snapshot.inference_ms is None else round(snapshot.inference_ms, 2),
            waiting=delivery.waiting,
            outbox_bytes=delivery.size_bytes,
            disk_free_bytes=vitals.disk_free_bytes,
            temperature_c=vitals.temperature_c,
        )

    def _watch_clock(self, now_ns: int) -> None:
        offset_ns = self._clock.wall_ns() - now_ns
        step_ns = offset_ns - self._clock_offset_ns
        self._clock_offset_ns = offset_ns
        if abs(step_ns) >= CLOCK_STEP_NS:
            self._report(ClockAnchor(step_s=round(step_ns / 1e9, 3)))

    def _report(self, body: Body) -> None:
        self._delivery.report(
            Draft(time_ns=self._clock.wall_ns(), mono_ns=self._clock.monotonic_ns(), body=body)
        )
