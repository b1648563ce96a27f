"""Everything between the box and the far end: broker, Pub/Sub, bridge, subscriber."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from device.commands.screen import complain
from device.demo.parts import Parts, StoppedError
from device.demo.settings import FarEnd, Scene
from device.demo.watching import Lines, read_events, subscriber
from device.demo_broker import HOST
from device.errors import LookoutError

CLOUD = "cloud_bridge.main"
READY_WITHIN_S = 60.0
"""A Raspberry Pi takes ten seconds to load Google's library from a cold card."""

LISTENING = "listening on "
"""What `lookout-cloud pubsub` says first."""

CONNECTED = "broker connected"
"""What `lookout-cloud bridge` logs."""

Tell = Callable[[str, str], None]
"""A part, and words about it."""


def start_chain(scene: Scene, parts: Parts, lines: Lines, closing: ExitStack, tell: Tell) -> Scene:
    """All but broker and box, in an order in which nothing of what the box sends is missed.

    The scene, with what is known by now. `closing` removes what was made at Google.

    Raises:
        LookoutError, StoppedError: as `Parts` does.
    """
    if scene.far_end is FarEnd.BROKER:
        closing.enter_context(subscriber(scene.broker_port, lines))
        tell("far end", "a subscriber of the broker")
        return scene
    if scene.far_end is FarEnd.LOCAL:
        scene = replace(scene, pubsub_address=_start_pubsub(scene, parts))
        tell("Pub/Sub", f"lookout-cloud pubsub on {scene.pubsub_address}")
    scene.bridge_file.write_text(scene.bridge_settings())
    if scene.far_end is FarEnd.GOOGLE:
        _announce(scene, tell)
        closing.callback(_remove, scene, parts)
        parts.run("provision", CLOUD, "provision", *_where(scene), within_s=READY_WITHIN_S)
    bridge = parts.start("bridge", CLOUD, "bridge", "--config", str(scene.bridge_file))
    tell("bridge", "lookout-cloud bridge, from the broker to Pub/Sub and back; no port")
    far_end = parts.start(
        "events", CLOUD, "events", "--config", str(scene.bridge_file),
        "--subscription", scene.subscription, "--json", reads=True,
    )  # fmt: skip
    read_events(far_end.stdout, lines)
    tell("far end", f"lookout-cloud events, from the subscription {scene.subscription}")
    # What a box sends before, the broker drops: it comes again, but 20 s later.
    parts.wait_for(lambda: CONNECTED in bridge.log, bridge, READY_WITHIN_S)
    return scene


def _start_pubsub(scene: Scene, parts: Parts) -> str:
    """HOST:PORT."""
    pubsub = parts.start(
        "pubsub", CLOUD, "pubsub", "--data-dir", str(scene.folder / "pubsub"), "--port", "0",
        "--provision", scene.project,
    )  # fmt: skip
    parts.wait_for(lambda: f"{LISTENING}{HOST}" in pubsub.log, pubsub, READY_WITHIN_S)
    return pubsub.log.partition(LISTENING)[2].split()[0]


def _where(scene: Scene) -> list[str]:
    return ["--config", str(scene.bridge_file), "--prefix", scene.prefix]


def _announce(scene: Scene, tell: Tell) -> None:
    """What the demo makes on somebody's project, before it does."""
    tell("Pub/Sub", f"project {scene.project} of Google Cloud")
    if "PUBSUB_EMULATOR_HOST" in os.environ:
        tell("", f"led to {os.environ['PUBSUB_EMULATOR_HOST']} by PUBSUB_EMULATOR_HOST")
    tell("", f"makes topics and subscriptions called {scene.prefix}-..., four of each, and")
    tell("", "deletes them at its end. Should it be cut off, this deletes them:")
    tell("", _removal(scene))


def _removal(scene: Scene) -> str:
    return (
        f"lookout-cloud provision --project {scene.project} --prefix {scene.prefix} --remove --yes"
    )


def _remove(scene: Scene, parts: Parts) -> None:
    """Whatever happens: the person hears what was left behind."""
    parts.close()  # nobody uses them any more
    parts.stop.clear()
    try:
        words = ("provision", *_where(scene), "--remove", "--yes")
        parts.run("removal", CLOUD, *words, within_s=READY_WITHIN_S)
    except (LookoutError, StoppedError) as exc:
        why = str(exc) or "it was not waited for"
        complain(f"not deleted: {why}; please run: {_removal(scene)}")
