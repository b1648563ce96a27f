"""`lookout-cloud deadletters`: what nobody could read: listed, tried again, dropped."""

import argparse
import json
from pathlib import Path
from typing import Any

from cloud_bridge import assembly
from cloud_bridge.commands.options import add_config, whole_number
from cloud_bridge.commands.screen import complain, say
from cloud_bridge.config import Config
from cloud_bridge.errors import BlockedError, ExitCode, RejectedError, TransientError
from cloud_bridge.forward.reading import Reader
from cloud_bridge.ports import Arrival, DeadLetters, KeptLetter
from cloud_bridge.settings_file import read_config
from device.wire.errors import WireError
from device.wire.events import time_text

MOST = (1 << 63) - 1
"""What SQLite counts to."""

SHOWN_CHARACTERS = 100

NOT_THERE = "{} of these numbers are not there; see lookout-cloud deadletters list"


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "deadletters",
        help="what nobody could read: list, retry or drop",
        description="Works beside a running bridge, on the same state_dir.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="oldest first, with the reasons")
    listing.add_argument(
        "--limit",
        type=whole_number(1, MOST, "how many, from 1"),
        default=100,
        help="so many at most (default: %(default)s)",
    )
    retry = actions.add_parser(
        "retry", help="send them to Pub/Sub now; those that arrive are removed"
    )
    drop = actions.add_parser("drop", help="remove them for good")
    for action, act in ((listing, list_them), (retry, retry_them), (drop, drop_them)):
        add_config(action)
        action.add_argument("--json", action="store_true", help="JSON on standard output")
        action.set_defaults(run=act)
    for action in (retry, drop):
        which = action.add_mutually_exclusive_group(required=True)
        which.add_argument(
            "numbers",
            nargs="*",
            type=whole_number(1, MOST, "a number from 1, as `lookout-cloud deadletters list` says"),
            metavar="NUMBER",
            default=[],
        )
        which.add_argument("--all", action="store_true", help="all of them")


def list_them(arguments: argparse.Namespace) -> int:
    config = read_config(Path(arguments.config))
    store = assembly.make_dead_letters(config)
    try:
        kept = store.letters(limit=arguments.limit)
        count, size_bytes = store.count()
    finally:
        store.close()
    if arguments.json:
        letters = [described(each) for each in kept]
        figures = {"count": count, "bytes": size_bytes, "max_bytes": config.dead_letters.max_bytes}
        say(json.dumps({**figures, "letters": letters}, ensure_ascii=False))
        return ExitCode.OK
    say(f"{count} dead letters, {size_bytes:,} of {config.dead_letters.max_bytes:,} bytes")
    for each in kept:
        letter = each.letter
        times = f" ({each.times} times)" if each.times > 1 else ""
        say(f"{each.number}\t{time_text(each.first_ns)}\t{letter.topic}{times}\t{letter.reason}")
        say(f"\t{shown(letter.payload)}")
    return ExitCode.OK


def retry_them(arguments: argparse.Namespace) -> int:
    config = read_config(Path(arguments.config))
    store = assembly.make_dead_letters(config)
    try:
        return _retry(arguments, config, store)
    finally:
        store.close()


def _retry(arguments: argparse.Namespace, config: Config, store: DeadLetters) -> int:
    """One after the other: one that is refused again stands in nobody's way."""
    publisher = assembly.make_publisher(config)
    reader = assembly.make_reader(config)
    topic = config.pubsub.topic(config.pubsub.events_topic)
    arrived: list[int] = []
    stayed: dict[int, str] = {}
    problem: BlockedError | TransientError | None = None
    chosen = _chosen(arguments, store)
    try:
        if config.pubsub.check_subscriptions and not publisher.subscriptions(topic):
            raise BlockedError(
                f"{topic} has no subscription, and Pub/Sub would drop them; make one first, for "
                "example with lookout-cloud provision"
            )
        for each in chosen:
            try:
                publisher.publish(topic, [read_again(reader, each).message])
            except (WireError, RejectedError) as exc:
                stayed[each.number] = str(exc)
                continue
            # At once: a retry that is broken off must not send it a second time.
            store.remove([each.number])
            arrived.append(each.number)
    except (BlockedError, TransientError) as exc:
        problem = exc
    finally:
        publisher.close()
    unknown = _unknown(arguments, len(chosen))
    if arguments.json:
        said: dict[str, Any] = {
            "arrived": arrived,
            "stayed": stayed,
            "unknown": unknown,
            "problem": None if problem is None else str(problem),
        }
        say(json.dumps(said, ensure_ascii=False))
    else:
        say(f"{len(arrived)} arrived, {len(stayed)} stayed")
        for number, reason in stayed.items():
            say(f"{number}\t{reason}")
    if problem is not None:
        complain(str(problem))
    if unknown:
        complain(NOT_THERE.format(unknown))
    if problem is not None:
        return problem.exit_code
    if stayed:
        return ExitCode.REFUSED
    return ExitCode.FAILED if unknown else ExitCode.OK


def read_again(reader: Reader, kept: KeptLetter) -> Any:  # noqa: ANN401 - forward.reading.Reading
    """Raises WireError: it still cannot be read."""
    arrival = Arrival(0, kept.letter.topic.encode(), kept.letter.payload)
    place = reader.place(arrival.topic)
    if place.kind != "events":
        raise WireError(f"topic {kept.letter.topic}: not of an event")
    return reader.event(place, arrival)


def drop_them(arguments: argparse.Namespace) -> int:
    config = read_config(Path(arguments.config))
    store = assembly.make_dead_letters(config)
    try:
        gone = store.remove([each.number for each in _chosen(arguments, store)])
    finally:
        store.close()
    unknown = _unknown(arguments, gone)
    if arguments.json:
        say(json.dumps({"dropped": gone, "unknown": unknown}))
    else:
        say(f"{gone} dropped")
    if unknown:
        complain(NOT_THERE.format(unknown))
        return ExitCode.FAILED
    return ExitCode.OK


def _unknown(arguments: argparse.Namespace, found: int) -> int:
    """How many of the numbers that were asked for are nobody's."""
    return 0 if arguments.all else len(set(arguments.numbers)) - found


def _chosen(arguments: argparse.Namespace, store: DeadLetters) -> list[KeptLetter]:
    if arguments.all:
        count, _ = store.count()
        return store.letters(limit=count)
    return store.letters(arguments.numbers)


def described(kept: KeptLetter) -> dict[str, Any]:
    """For JSON; the payload as text where it is UTF-8, else in hex."""
    letter = kept.letter
    try:
        payload = {"payload": letter.payload.decode()}
    except UnicodeDecodeError:
        payload = {"payload_hex": letter.payload.hex()}
    return {
        "number": kept.number,
        "topic": letter.topic,
        "reason": letter.reason,
        "registry": letter.registry,
        "device": letter.device,
        "run": letter.run,
        "seq": letter.seq,
        "first": time_text(kept.first_ns),
        "last": time_text(kept.last_ns),
        "times": kept.times,
        **payload,
    }


def shown(payload: bytes) -> str:
    """Its beginning, printable."""
    text = repr(payload[:SHOWN_CHARACTERS].decode(errors="backslashreplace"))[1:-1]
    return f"{text}... ({len(payload)} bytes)" if len(payload) > SHOWN_CHARACTERS else text
