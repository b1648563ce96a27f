"""Commands from afar: each done once, not after its expiry, and an event tells what came of it."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, Queue
from typing import Literal, TypeVar

from device.errors import LookoutError, TransientError
from device.pipeline.decide import Answer, Asked, Identify, Report, Request, RequestKind
from device.ports import Clock, SmallFile
from device.wire.bodies import CommandDone
from device.wire.downward import Command, decode_command
from device.wire.errors import WireError
from device.wire.events import Draft, time_ns

_T = TypeVar("_T")

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 10.0
IDS_AT_MOST = 500
AHEAD_AT_MOST_NS = 7 * 24 * 3600 * 1_000_000_000
DETAIL_CHARS = 500

UNREADABLE_TOLD = 20
"""Events of messages that nobody can read, in `UNREADABLE_NS`; the rest is only counted."""
UNREADABLE_NS = 600_000_000_000


@dataclass(frozen=True, slots=True)
class Doings:
    """What commands can do. ask: `Loop.ask`. reload: reads the settings file again; why nothing
    changed, or None. restart: notes the reason, and ends the process once this has returned."""

    ask: Callable[[Asked], bool]
    reload: Callable[[], str | None]
    restart: Callable[[Command], None]


class DoneIds:
    """Ids of commands that were taken, kept on disk until they expire."""

    def __init__(self, file: SmallFile) -> None:
        self._file = file
        self._expiries = _read(file)

    def __contains__(self, command_id: str) -> bool:
        return command_id in self._expiries

    def add(self, command_id: str, expires_ns: int, now_ns: int) -> None:
        """On return it is on disk.

        Raises:
            TransientError: it is not, or too many are kept; the command must not be done.
        """
        expiries = {each: end_ns for each, end_ns in self._expiries.items() if end_ns > now_ns}
        if len(expiries) >= IDS_AT_MOST:
            raise TransientError(
                f"{len(expiries)} commands were taken that have not expired yet; want fewer, or "
                "an earlier expiry"
            )
        expiries[command_id] = expires_ns
        self._file.write(json.dumps(expiries).encode())
        self._expiries = expiries


def _read(file: SmallFile) -> dict[str, int]:
    content = file.read()
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        log.error("the ids of earlier commands cannot be read, and are forgotten")
        return {}
    return {each: end for each, end in found.items() if isinstance(end, int)}


class Commanding:
    """Owned by the downlink's thread.

    A command's id is on disk before the command is done: whatever happens then, it is not done
    twice. So a power cut in between may leave it undone, and untold.
    """

    def __init__(self, doings: Doings, done: DoneIds, report: Report, clock: Clock) -> None:
        self._doings = doings
        self._done = done
        self._report = report
        self._clock = clock
        self.unreadable = 0
        self._told = 0
        self._told_since_ns = clock.monotonic_ns()

    def take(self, payload: bytes) -> None:
        """Do what a message asks for, and tell what came of it."""
        try:
            command = decode_command(payload)
            expires_ns = time_ns(command.expires)
        except (WireError, OverflowError) as exc:
            self._note_unreadable(str(exc))
            return
        body = self._objection(command, expires_ns) or self._do(command)
        log.info(
            "command id=%s command=%s result=%s detail=%s",
            command.id,
            command.command,
            body.result,
            body.detail,
        )
        self._tell(body)
        if command.command == "restart" and body.result == "done":
            self._doings.restart(command)

    def _note_unreadable(self, problem: str) -> None:
        self.unreadable += 1
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._told_since_ns >= UNREADABLE_NS:
            self._told, self._told_since_ns = 0, now_ns
        self._told += 1
        if self._told <= UNREADABLE_TOLD:
            log.warning("command not read unreadable=%d: %s", self.unreadable, problem)
            self._tell(CommandDone(result="refused", detail=problem[:DETAIL_CHARS]))

    def _objection(self, command: Command, expires_ns: int) -> CommandDone | None:
        now_ns = self._clock.wall_ns()
        if command.id in self._done:
            return _body(command, "repeated", "a command of this id was taken before")
        if self._clock.minute_of_day() is None:
            return _body(
                command, "refused", "the box's clock is not set, so nobody knows what has expired"
            )
        if expires_ns <= now_ns:
            return _body(command, "expired", f"it was to be done before {command.expires}")
        if expires_ns - now_ns > AHEAD_AT_MOST_NS:
            return _body(command, "refused", "it expires too late; want seven days at most")
        try:
            self._done.add(command.id, expires_ns, now_ns)
        except TransientError as exc:
            return _body(command, "refused", str(exc))
        return None

    def _do(self, command: Command) -> CommandDone:
        try:
            match command.command:
                case "classify":
                    return self._classify(command)
                case "pause" | "resume" as kind:
                    self._ask(kind)
                    return _body(command, "done")
                case "identify":
                    answer: Queue[str | None] = Queue(1)
                    problem = self._wait(Identify(answer.put_nowait), answer)
                    return _body(command, "refused" if problem else "done", problem)
                case "reload":
                    problem = self._doings.reload()
                    return _body(command, "refused" if problem else "done", problem)
                case "restart":
                    return _body(command, "done")
        except LookoutError as exc:
            return _body(command, "failed", str(exc))

    def _classify(self, command: Command) -> CommandDone:
        answer = self._ask("look")
        if answer.result == "no_picture":
            return _body(command, "failed", "the camera has no picture to look at")
        return _body(command, "done").model_copy(update={"sights": list(answer.sights)})

    def _ask(self, kind: RequestKind) -> Answer:
        answers: Queue[Answer] = Queue(1)
        return self._wait(Request(kind, answers.put_nowait), answers)

    def _wait(self, asked: Asked, answers: Queue[_T]) -> _T:
        if not self._doings.ask(asked):
            raise TransientError("the box has too many requests waiting")
        try:
            return answers.get(timeout=ANSWER_WITHIN_S)
        except Empty as exc:
            raise TransientError(f"the loop did not answer within {ANSWER_WITHIN_S:.0f} s") from exc

    def _tell(self, body: CommandDone) -> None:
        now_ns = self._clock.monotonic_ns()
        self._report(Draft(time_ns=self._clock.wall_ns(), mono_ns=now_ns, body=body), None)


def _body(
    command: Command,
    result: Literal["done", "refused", "expired", "repeated", "failed"],
    detail: str | None = None,
) -> CommandDone:
    return CommandDone(
        command_id=command.id,
        command=command.command,
        result=result,
        detail=None if detail is None else detail[:DETAIL_CHARS],
    )


def take_note(file: SmallFile) -> bool:
    """Whether there was one: of a restart that a command asked for; it is gone then."""
    is_there = file.read() is not None
    if is_there:
        try:
            file.remove()
        except TransientError as exc:
            log.warning("a note of the restart stays behind: %s", exc)
    return is_there
