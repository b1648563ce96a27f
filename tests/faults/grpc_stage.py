"""Broker, bridge, a Pub/Sub that fails as told, and both ends of all that goes through it."""

import json
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cloud_bridge.downlink.reading import attributes_of
from cloud_bridge.local_pubsub.server import LocalPubsub
from tests.kit import receipts
from tests.kit.bridge import (
    DOWNLINK,
    EVENTS,
    PROJECT,
    RUN,
    STATES,
    BridgeProcess,
    event_payload,
    make_topics,
)
from tests.kit.broker import Broker
from tests.kit.devices import Device
from tests.kit.grpc_faults import FaultyPubsub
from tests.kit.pubsub_clients import Pubsub
from tests.kit.subscriber import Subscriber
from tests.kit.waiting import wait_until
from tests.tools import require_tool

EVENT_TOPIC = "home/devices/garden/events/detection"
STATE_TOPIC = "home/devices/garden/state"
DOWN = f"projects/{PROJECT}/subscriptions/lookout-downlink-bridge"


class GrpcStage:
    """faulty: between the bridge and the real one; what the tests do goes past it.

    name: of a bridge in `hurried_bridge`.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        exits: ExitStack,
        timeout_s: float = 15.0,
        every_s: float = 0.02,
    ) -> None:
        enter = exits.enter_context
        self._timeout_s, self._every_s = timeout_s, every_s
        self.broker = enter(Broker(require_tool("mosquitto"), folder / "broker"))
        upstream = f"127.0.0.1:{enter(LocalPubsub(folder / 'pubsub')).port}"
        self.pubsub = enter(Pubsub(upstream))
        make_topics(self.pubsub, (EVENTS, STATES, DOWNLINK))
        self.events = self.pubsub.subscription(EVENTS)
        self.states = self.pubsub.subscription(STATES)
        self.pubsub.subscriber.create_subscription(
            request={"name": DOWN, "topic": DOWNLINK, "ack_deadline_seconds": 10}, timeout=10.0
        )
        self.faulty = enter(FaultyPubsub(upstream))
        more = {"pubsub": f'downlink_subscription = "{DOWN.rpartition("/")[2]}"\n'}
        command = ("-m", "tests.faults.hurried_bridge", name)
        self.bridge = enter(
            BridgeProcess(
                folder / "bridge", self.broker.port, self.faulty.host, more, command=command
            )
        )
        self.device = enter(Device(self.broker.port))
        topics = ["home/devices/+/receipts", "home/devices/+/commands/#"]
        self.listener = enter(Subscriber(self.broker.port, topics))
        self.stored: Counter[int] = Counter()
        """How often each seq came to the subscription of events."""
        self.told: list[str] = []
        """Bodies of states, in the order in which they came."""
        self._seq = 0

    def wait_ready(self) -> None:
        self.bridge.wait_for_log("broker connected")
        self.wait_for(self.status, "a status file")

    # --- what goes in -------------------------------------------------------------------------

    def publish(self, count: int, **changes: object) -> range:
        """So many new events, at once; their seqs."""
        seqs = range(self._seq + 1, self._seq + count + 1)
        self._seq += count
        self.device.publish(EVENT_TOPIC, [event_payload(seq, **changes) for seq in seqs])  # type: ignore[arg-type]
        return seqs

    def publish_bad(self, count: int) -> range:
        """So many that nobody can read, though their ids can be; their seqs."""
        seqs = range(self._seq + 1, self._seq + count + 1)
        self._seq += count
        self.device.publish(EVENT_TOPIC, [event_payload(seq)[:-1] for seq in seqs])
        return seqs

    def publish_state(self, text: str) -> None:
        state = json.dumps({"run": RUN, "note": text}).encode()
        self.device.publish(STATE_TOPIC, [state], retain=True)

    def command(self, name: str) -> None:
        expires = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
        body = {"id": name, "command": "identify", "expires": expires}
        self.pubsub.publish_at_once(
            DOWNLINK,
            [
                {
                    "data": json.dumps(body).encode(),
                    "attributes": attributes_of("home", "garden", "command"),
                }
            ],
        )

    # --- what came out ------------------------------------------------------------------------

    def drain(self) -> None:
        """Take what the subscriptions of events and states hold."""
        for received in self._take(self.events):
            self.stored[int(received.message.attributes["ce-id"].rpartition(":")[2])] += 1
        self.told += [
            json.loads(received.message.data).get("note", "")
            for received in self._take(self.states)
        ]

    def _take(self, subscription: str) -> list[Any]:
        received = self.pubsub.pull(subscription, 1000)
        if received:
            self.pubsub.acknowledge(subscription, received)
        return received

    @property
    def receipted(self) -> set[int]:
        return receipts.confirmed(self.listener)

    @property
    def refused(self) -> dict[int, str]:
        return receipts.refused(self.listener)

    @property
    def commands(self) -> list[str]:
        """Ids of those that came to the broker."""
        return [
            json.loads(message.payload)["id"]
            for message in self.listener.messages
            if "/commands/" in message.topic
        ]

    def acknowledged(self) -> int:
        """Messages that the bridge has acknowledged to the broker so far."""
        return self.broker.log_path.read_text(errors="replace").count(
            "Received PUBACK from lookout-bridge"
        )

    def status(self) -> dict[str, Any]:
        """As `status.json` says it; empty while there is none."""
        path = self.bridge.folder / "status.json"
        said: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return said

    def trouble(self, part: str) -> str:
        """What `status.json` says about it; "" when it is well."""
        found: str = self.status()["troubles"].get(part, "")
        return found

    # --- waiting ------------------------------------------------------------------------------

    def wait_for(self, fact: Any, what: str) -> None:  # noqa: ANN401 - a call, for its truth
        wait_until(fact, what, self._timeout_s, self._every_s)

    def wait_stored(self, seqs: range | set[int]) -> None:
        """All are at the subscriber."""

        def all_came() -> bool:
            self.drain()
            return set(seqs) <= set(self.stored)

        try:
            self.wait_for(all_came, "all events at the subscriber")
        except AssertionError as exc:
            missing = sorted(set(seqs) - set(self.stored))
            raise AssertionError(f"{exc}; {len(missing)} missing, such as {missing[:3]}") from exc

    def wait_receipts(self, seqs: range | set[int]) -> None:
        self.wait_for(lambda: set(seqs) <= self.receipted, "receipts of what was stored")

    def wait_told(self, text: str) -> None:
        def it_came() -> bool:
            self.drain()
            return text in self.told

        self.wait_for(it_came, f"state {text} at the subscriber")

    def wait_well(self) -> None:
        self.wait_for(lambda: not self.status()["troubles"], "no trouble in the status file")
