"""Answers what commands ask of the running box over the control socket."""

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, Queue
from typing import Any

from device.core.images import Image, Rectangle
from device.errors import NotFoundError, TransientError
from device.pipeline.decide import Answer, Loop, Request, RequestKind
from device.pipeline.deliver import Delivery
from device.pipeline.journal import Feed
from device.pipeline.look import RegionPlan
from device.pipeline.reporting import Reporting
from device.ports import Album, Closed
from device.wire.bodies import RegionSight
from device.wire.control import ControlEnd, ControlItem, ControlRequest, Record

ANSWER_WITHIN_S = 10.0

Draw = Callable[[Image, Sequence[tuple[str, Rectangle, str]], Sequence[Rectangle]], bytes]
"""A JPEG of the picture with regions (name, place, caption) and masks drawn on it."""


class Desk:
    """Any thread may ask: what belongs to the loop goes through its queue of requests."""

    def __init__(
        self,
        *,
        loop: Loop,
        plans: Sequence[RegionPlan],
        reporting: Reporting,
        delivery: Delivery,
        album: Album,
        feed: Feed,
        draw: Draw,
        descriptions: Callable[[], dict[str, str]],
    ) -> None:
        """descriptions: what the camera, the pins and the like are, for people."""
        self._loop = loop
        self.plans = plans
        """Of the regions; replaced whole when other settings come into force."""
        self._reporting = reporting
        self._delivery = delivery
        self._album = album
        self._feed = feed
        self._draw = draw
        self._descriptions = descriptions

    def answer(self, request: ControlRequest, closed: Closed) -> Iterator[ControlItem | ControlEnd]:
        """closed: set when nobody listens any more.

        Raises:
            LookoutError: the request cannot be met; the server passes it on.
        """
        match request.command:
            case "status":
                yield ControlEnd(ok=True, result=self._status())
            case "watch":
                yield from self._watch(closed)
            case "snap":
                yield ControlEnd(ok=True, result=self._snap(request.arguments))
            case "look" | "pause" | "resume" as kind:
                answer = self._ask(kind)
                sights = [each.model_dump(mode="json") for each in answer.sights]
                yield ControlEnd(ok=True, result={"result": answer.result, "sights": sights})
            case "why":
                yield ControlEnd(ok=True, result=self._why(request.arguments))
            case "near":
                limit = _limit(request.arguments)
                for record in asked_of(self._album, None, limit):
                    yield ControlItem(item=record.model_dump(mode="json", exclude_none=True))
                yield ControlEnd(ok=True)

    def _status(self) -> dict[str, Any]:
        state = self._reporting.state().model_dump(mode="json", exclude_none=True)
        delivery = self._delivery.status()
        link = {"is_connected": delivery.is_connected}
        if delivery.problem is not None:
            return {**state, "uplink": {**link, "problem": delivery.problem}, **self._parts()}
        return {**state, "uplink": link, **self._parts()}

    def _parts(self) -> dict[str, Any]:
        return {"parts": self._descriptions()}

    def _watch(self, closed: Closed) -> Iterator[ControlItem | ControlEnd]:
        queue = self._feed.subscribe()
        try:
            while not closed.is_set():
                try:
                    record = queue.get(timeout=0.2)
                except Empty:
                    continue
                yield ControlItem(item=record.model_dump(mode="json", exclude_none=True))
        finally:
            self._feed.unsubscribe(queue)
        yield ControlEnd(ok=True)

    def _why(self, arguments: dict[str, Any]) -> dict[str, Any]:
        [record] = asked_of(self._album, str(arguments.get("id", "")), 1)
        return record.model_dump(mode="json", exclude_none=True)

    def _snap(self, arguments: dict[str, Any]) -> dict[str, Any]:
        answer = self._ask("look")
        if answer.frame is None:
            raise TransientError(
                "the camera gives no picture now; `lookout status` says why: it may be paused "
                "(`lookout resume`), at the end of its clip, or not there"
            )
        is_drawn = arguments.get("regions") is True
        plans = self.plans
        regions = captions(plans, answer.sights) if is_drawn else []
        masks = [mask for plan in plans for mask in plan.masks] if is_drawn else []
        jpeg = self._draw(answer.frame.main, regions, masks)
        height_px, width_px = answer.frame.main.size
        return {
            "jpeg": b64encode(jpeg).decode(),
            "height_px": height_px,
            "width_px": width_px,
            "sights": [each.model_dump(mode="json") for each in answer.sights],
        }

    def _ask(self, kind: RequestKind) -> Answer:
        answers: Queue[Answer] = Queue(1)
        if not self._loop.ask(Request(kind, answers.put_nowait)):
            raise TransientError("the box has too many requests waiting; try again in a moment")
        try:
            return answers.get(timeout=ANSWER_WITHIN_S)
        except Empty as exc:
            raise TransientError(
                f"the box did not answer within {ANSWER_WITHIN_S:.0f} s; `lookout status` shows "
                "how it is"
            ) from exc


def asked_of(album: Album, record_id: str | None, limit: int) -> list[Record]:
    """The record of that id, or without one the latest near misses, newest first.

    Raises:
        NotFoundError: there is no such record.
    """
    if record_id is None:
        return album.recent(limit, "near_miss")
    record = album.find(record_id)
    if record is None:
        raise NotFoundError(
            f"no record of {record_id!r}: it is not this box's, or so old that it made room for "
            "newer ones; `lookout watch` shows ids as they come"
        )
    return [record]


def captions(
    plans: Sequence[RegionPlan], sights: Sequence[RegionSight]
) -> list[tuple[str, Rectangle, str]]:
    """Name, place and words of each region, to be drawn."""
    drawn = []
    places = {plan.name: plan.box for plan in plans}
    for sight in sights:
        if sight.region not in places:
            continue  # other settings came between the look and now
        words = ", ".join(f"{each.label} {each.score:.2f}" for each in sight.labels)
        drawn.append((sight.region, places[sight.region], words or "nothing"))
    return drawn


def _limit(arguments: dict[str, Any]) -> int:
    limit = arguments.get("limit", 20)
    return min(max(limit, 1), 1000) if isinstance(limit, int) else 20
