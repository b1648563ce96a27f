"""A running box: the loops and the rooms wired together, from the first lock to the last close."""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event

from device import assembly
from device.config import Config
from device.core.bundle import Bundle
from device.core.headlines import record_of
from device.core.images import Frame
from device.core.toml_keys import KeyLines
from device.errors import ConfigError, LookoutError, OutputError, TransientError
from device.instance_lock import InstanceLock
from device.pipeline.capture import Capture, Slot
from device.pipeline.commanding import Commanding, Doings, DoneIds, take_note
from device.pipeline.decide import ButtonPress, Loop
from device.pipeline.deliver import Delivery
from device.pipeline.desk import Desk
from device.pipeline.downlink import Downlink
from device.pipeline.journal import Feed, Journal
from device.pipeline.look import Region, RegionPlan
from device.pipeline.planning import plan_regions
from device.pipeline.reporting import Identity, Reporting
from device.pipeline.telling import region_sight
from device.pipeline.tuning import Start, Tuned, Tuner, Tuning, keep_record
from device.ports import (
    BundleStore,
    Camera,
    Classifier,
    Clock,
    Incoming,
    Pins,
    PreviousRun,
)
from device.settings_file import render
from device.wire.bodies import RegionSight, RunStarted
from device.wire.downward import Command
from device.wire.events import Draft
from device.wire.state import Backend, BundleState, SettingsState
from device.workers import StopSignals, Worker, join_all, run_within, supervise

log = logging.getLogger(__name__)

STOP_WITHIN_S = 8.0
PINS_WITHIN_S = 2.0
DELIVERY_WITHIN_S = 4.0
ALBUM_WITHIN_S = 5.0

DESIRED_FILE = "desired_settings.json"
COMMANDS_FILE = "commands_done.json"
RESTART_FILE = "restart_asked"
"""In the state folder: what outlives the process and is no event."""


def checked_plans(
    config: Config, store: BundleStore, name: str, text: str
) -> list[tuple[RegionPlan, Bundle]]:
    """Every region's plan and bundle. name, text: of the settings file, for messages.

    Raises:
        ConfigError: names that no bundle knows; all of them, with their lines.
        ModelError: a bundle that is not there, or not whole.
    """
    plans, mistakes = plan_regions(config, store.find, KeyLines(text))
    if mistakes:
        raise ConfigError(render(name, mistakes))
    return plans


def run_box(start: Start, on_running: Callable[[], None]) -> bool:
    """Run until SIGTERM, SIGINT or the command `restart`; whether the end was asked for.

    on_running: called once everything that can refuse the settings has taken them.

    Raises:
        LookoutError: the box cannot start; nothing is left open.
    """
    config = start.config
    clock = assembly.system_clock()
    stop = Event()
    workers: list[Worker] = []
    with ExitStack() as closing:
        signals = StopSignals()
        closing.callback(signals.close)
        closing.enter_context(InstanceLock(config.device.state_dir))
        store = assembly.open_bundles(config.device.state_dir)
        tuner = Tuner(store, _load)
        tuned = tuner.tune(start.source, start.record.settings)
        plans = [(plan, classifier.bundle) for plan, classifier in tuned.plans]
        desired_file = assembly.open_small_file(config.device.state_dir, DESIRED_FILE)
        keep_record(desired_file, start.record)
        is_restart = take_note(assembly.open_small_file(config.device.state_dir, RESTART_FILE))
        regions = [Region(plan, classifier) for plan, classifier in tuned.plans]

        slot = Slot()
        capture = Capture(
            _camera_opener(config, plans), slot, clock, assembly.jitter, stop, config.camera.stale_s
        )
        closing.callback(capture.close)
        presses: list[Loop] = []
        pins = assembly.open_pins(
            config, lambda button, press: _press(presses, ButtonPress(button, press))
        )
        closing.callback(pins.close)

        feed = Feed()
        album = assembly.open_album(config, clock)
        closing.callback(album.close)
        journal = Journal(album, feed, record_of)

        def first(previous: PreviousRun | None) -> Draft:
            body = _run_started(previous, tuned, is_restart)
            return Draft(time_ns=clock.wall_ns(), mono_ns=clock.monotonic_ns(), body=body)

        downlinks: list[Downlink] = []
        delivery = Delivery(
            outbox_factory=lambda: assembly.open_outbox(config),
            uplink_factory=lambda run: assembly.open_uplink(config, clock, run),
            settings=config.mqtt.delivery_settings(),
            topics=config.topics,
            group_ms=config.outbox.group_ms,
            clock=clock,
            on_committed=journal.committed,
            first=first,
            on_message=lambda message: _put(downlinks, message),
            spare_factory=lambda previous: assembly.open_spare_outbox(config, previous),
            jitter=assembly.jitter,
        )
        closing.callback(delivery.close)
        loop = Loop(
            regions=regions,
            rules=config.rule_values(),
            limits=config.output_limits(),
            slot=slot,
            capture=capture,
            pins=pins,
            report=delivery.report,
            keep=journal.keep,
            clock=clock,
            stale_s=config.camera.stale_s,
            identify_output=config.device.identify_output,
        )
        presses.append(loop)
        reporting = Reporting(
            identity=_identity(tuned, start.source.state(start.record)),
            loop=loop,
            capture=capture,
            delivery=delivery,
            journal=journal,
            clock=clock,
            read_vitals=lambda: assembly.vitals(config.device.state_dir),
            state_s=config.report.state_s,
            telemetry_s=config.report.telemetry_s,
            problems=lambda: {
                each.name: each.problem for each in workers if each.problem is not None
            },
            certificate_expiry_ns=lambda: assembly.certificate_expiry_ns(config),
            messages_dropped=lambda: sum(each.dropped for each in downlinks),
        )
        desk = Desk(
            loop=loop,
            plans=[plan for plan, _ in plans],
            reporting=reporting,
            delivery=delivery,
            album=album,
            feed=feed,
            draw=assembly.draw_regions,
            descriptions=lambda: {
                "camera": capture.description,
                "pins": pins.description,
                "broker": f"{config.mqtt.host}:{config.mqtt.port_number}",
                "state_dir": str(config.device.state_dir),
            },
        )
        try:
            control = assembly.open_control(config.device.socket_path, desk.answer)
            closing.callback(control.close)
        except OutputError as exc:  # a full disk: the box goes on, deaf to commands
            log.error("no control socket: %s", exc)

        def worker(name: str, turn: Callable[[], None], deadline_s: float | None) -> Worker:
            return Worker(name, turn, stop, clock, deadline_s, assembly.jitter)

        def tell(now: Tuned, settings: SettingsState) -> None:
            desk.plans = [plan for plan, _ in now.plans]
            report = now.config.report
            reporting.change(_identity(now, settings), report.state_s, report.telemetry_s)

        tuning = Tuning(
            tuner=tuner,
            start=start,
            now=tuned,
            file=desired_file,
            ask=loop.ask,
            tell=tell,
            deaths=lambda: sum(each.deaths for each in workers),
            clock=clock,
        )

        def restart(command: Command) -> None:
            note = assembly.open_small_file(config.device.state_dir, RESTART_FILE)
            try:
                note.write(command.id.encode())
            except TransientError as exc:
                log.warning("the next run will not know why it began: %s", exc)
            stop.set()

        commanding = Commanding(
            Doings(loop.ask, tuning.reload, restart),
            DoneIds(assembly.open_small_file(config.device.state_dir, COMMANDS_FILE)),
            delivery.report,
            clock,
        )
        downlink = Downlink(config.topics, commanding, tuning)
        downlinks.append(downlink)

        def tick() -> None:
            reporting.tick()
            if signals.take_reload() and not downlink.do(lambda: _reload(tuning)):
                log.error("settings not read again: too many messages wait")

        workers += [
            worker("downlink", downlink.turn, None),
            worker("outbox", delivery.outbox_turn, 30.0),
            worker("uplink", delivery.uplink_turn, None),
            worker("album", journal.turn, None),
            worker("loop", loop.turn, 10.0),
            worker("camera", capture.turn, 15.0),
        ]
        log.info("running device=%s state_dir=%s", config.device.name, config.device.state_dir)
        on_running()
        try:
            was_asked = supervise(workers, stop, tick, signals.wait)
        finally:
            stop.set()
            end_all(workers, (slot.wake, delivery.wake), pins, delivery)
        if was_asked:
            tuning.end()
        loop.close()
        delivery.close()  # commits what is queued, and tells the journal of it
        run_within("album", journal.flush, ALBUM_WITHIN_S)
        log.info("stopped was_asked=%s", was_asked)
        return was_asked


def end_all(
    workers: Sequence[Worker],
    wakes: Sequence[Callable[[], None]],
    pins: Pins,
    delivery: Delivery,
    within_s: float = STOP_WITHIN_S,
) -> None:
    """Make outputs safe and wait for every worker, so that what they use can be closed after.

    A hung thread cannot be ended from Python: then this ends the process, with what delivery
    still has in memory on disk, unless its disk is what hangs. wakes: end the workers' waits.
    """
    # First of all: nothing that hangs, this thread included, may keep an output on.
    run_within("pins", pins.close, PINS_WITHIN_S)
    for wake in wakes:
        wake()
    left = join_all(workers, within_s)
    if not left:
        return
    log.critical("threads did not end names=%s", ",".join(left))
    if "outbox" not in left:
        run_within("delivery", delivery.close, DELIVERY_WITHIN_S)
    os._exit(1)


@dataclass(frozen=True, slots=True, eq=False)
class Glance:
    """One frame and what each region sees in it."""

    frame: Frame
    plans: Sequence[RegionPlan]
    sights: Sequence[RegionSight]


def glance(config: Config, name: str, text: str) -> Glance:
    """One look without a running box: opens camera and models, looks once, closes.

    Raises:
        LookoutError: settings, bundle or camera do not let it look.
    """
    clock = assembly.system_clock()
    with InstanceLock(config.device.state_dir):
        store = assembly.open_bundles(config.device.state_dir)
        plans = checked_plans(config, store, name, text)
        classifiers, _ = _classifiers(config, [bundle for _, bundle in plans])
        camera = _camera_opener(config, plans)()
        try:
            frame = _first_frame(camera, config.camera.stale_s, clock)
        finally:
            camera.close()
        sights = []
        for plan, bundle in plans:
            region = Region(plan, classifiers[bundle.sha256])
            _, scores = region.peek(frame)
            # One look has no patience to wait for: what is over its threshold counts.
            over = [name for name, score in scores.items() if score >= plan.thresholds[name].high]
            sights.append(region_sight(plan.name, scores, over))
        return Glance(frame, [plan for plan, _ in plans], sights)


def _first_frame(camera: Camera, within_s: float, clock: Clock) -> Frame:
    end_ns = clock.monotonic_ns() + round(within_s * 1e9)
    while clock.monotonic_ns() < end_ns:
        frame = camera.read(timeout_s=min(within_s, 1.0))
        if frame is not None:
            return frame
    raise TransientError(
        f"no frame within {within_s:g} s from {camera.description}; want a camera that gives "
        "pictures: `lookout camera list` shows what is there"
    )


def _press(loops: list[Loop], press: ButtonPress) -> None:
    """Buttons live before the loop does, and close after it."""
    for loop in loops:
        loop.ask(press)


def _classifiers(config: Config, bundles: list[Bundle]) -> tuple[dict[str, Classifier], Backend]:
    """One classifier a bundle, whichever number of regions use it."""
    runtime = assembly.open_runtime(config.inference.runtime)
    loaded: dict[str, Classifier] = {}
    backends = []
    for bundle in bundles:
        if bundle.sha256 not in loaded:
            loaded[bundle.sha256], backend = assembly.load_bundle(
                bundle, runtime, config.inference.threads
            )
            backends.append(backend)
    return loaded, backends[0]


def _camera_opener(config: Config, plans: list[tuple[RegionPlan, Bundle]]) -> Callable[[], Camera]:
    """With a second stream in the model's size where a region sees the whole frame."""
    clock = assembly.system_clock()
    whole = next(
        (
            (bundle.input.height_px, bundle.input.width_px)
            for plan, bundle in plans
            if plan.box.is_whole and not plan.masks and bundle.input.fit == "squash"
        ),
        None,
    )
    return lambda: assembly.open_camera(config.camera, clock, whole)


def _run_started(previous: PreviousRun | None, tuned: Tuned, is_restart: bool) -> RunStarted:
    reason = "first"
    if previous is not None:
        reason = "stopped" if previous.ended_cleanly else "died"
    if reason == "stopped" and is_restart:
        reason = "asked"
    bundle, backend = tuned.bundles[0], tuned.backend
    return RunStarted(
        previous_run=None if previous is None else str(previous.run),
        previous_seq=None if previous is None else previous.last_seq,
        reason=reason,
        version=assembly.lookout_version(),
        bundle=f"{bundle.name}@{bundle.version}",
        runtime=f"{backend.runtime} {backend.version}",
    )


def _identity(tuned: Tuned, settings: SettingsState) -> Identity:
    return Identity(
        version=assembly.lookout_version(),
        backend=tuned.backend,
        bundles=_bundle_states(tuned.bundles),
        settings=settings,
    )


def _load(bundle: Bundle, config: Config) -> tuple[Classifier, Backend]:
    runtime = assembly.open_runtime(config.inference.runtime)
    return assembly.load_bundle(bundle, runtime, config.inference.threads)


def _put(downlinks: list[Downlink], message: Incoming) -> None:
    """Messages come once the delivery runs, and that is after the downlink is made."""
    for downlink in downlinks:
        downlink.put(message)


def _reload(tuning: Tuning) -> None:
    """On SIGHUP there is only the log to answer to."""
    try:
        problem = tuning.reload()
    except LookoutError as exc:
        problem = str(exc)
    if problem is None:
        log.info("settings read again")
    else:
        log.error("settings not taken: %s", problem)


def _bundle_states(bundles: list[Bundle]) -> list[BundleState]:
    unique = {bundle.sha256: bundle for bundle in bundles}
    return [
        BundleState(name=bundle.name, version=bundle.version, sha256=bundle.sha256)
        for bundle in unique.values()
    ]
