"""Every gRPC status, on every call of the bridge, becomes the error that says what to do next."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.auth import exceptions as auth

from cloud_bridge.clocks import Waits
from cloud_bridge.downlink.google_commands import GoogleCommands
from cloud_bridge.errors import BlockedError, CloudError, ConfigError, RejectedError, TransientError
from cloud_bridge.forward.google_pubsub import GooglePublisher
from cloud_bridge.google_client import error_of, make_publisher_client
from cloud_bridge.local_pubsub.server import LocalPubsub
from cloud_bridge.ports import OutMessage
from tests.kit.bridge import DOWNLINK, EVENTS
from tests.kit.pubsub_clients import Pubsub, emulator_host

HURRIED = Waits(library_retry_s=0.05)

MEANINGS: dict[grpc.StatusCode, type[CloudError]] = {
    grpc.StatusCode.CANCELLED: TransientError,
    grpc.StatusCode.UNKNOWN: TransientError,
    grpc.StatusCode.INVALID_ARGUMENT: RejectedError,
    grpc.StatusCode.DEADLINE_EXCEEDED: TransientError,
    grpc.StatusCode.NOT_FOUND: BlockedError,
    grpc.StatusCode.ALREADY_EXISTS: BlockedError,
    grpc.StatusCode.PERMISSION_DENIED: BlockedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: TransientError,
    grpc.StatusCode.FAILED_PRECONDITION: BlockedError,
    grpc.StatusCode.ABORTED: TransientError,
    grpc.StatusCode.OUT_OF_RANGE: RejectedError,
    grpc.StatusCode.UNIMPLEMENTED: BlockedError,
    grpc.StatusCode.INTERNAL: TransientError,
    grpc.StatusCode.UNAVAILABLE: TransientError,
    grpc.StatusCode.DATA_LOSS: TransientError,
    grpc.StatusCode.UNAUTHENTICATED: BlockedError,
}


class Refuser(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers every call with one status."""

    def __init__(self) -> None:
        self.code = grpc.StatusCode.UNAVAILABLE
        self.calls = 0

    def service(self, handler_call_details: Any) -> Any:  # noqa: ANN401 - gRPC's own
        def answer(request: bytes, context: Any) -> bytes:  # noqa: ANN401 - gRPC's own
            self.calls += 1
            context.abort(self.code, "as the test wants")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture(scope="module")
def refuser() -> Iterator[tuple[Refuser, str]]:
    handler = Refuser()
    server = grpc.server(ThreadPoolExecutor(2), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler, f"127.0.0.1:{port}"
    server.stop(0.0).wait()


def publishing(publisher: GooglePublisher, _commands: GoogleCommands) -> object:
    publisher.publish(EVENTS, [OutMessage(b"1", {})])
    return None


def counting(publisher: GooglePublisher, _commands: GoogleCommands) -> object:
    return publisher.subscriptions(EVENTS)


def pulling(_publisher: GooglePublisher, commands: GoogleCommands) -> object:
    return commands.pull()


def acknowledging(_publisher: GooglePublisher, commands: GoogleCommands) -> object:
    commands.acknowledge(["1"])
    return None


Call = Callable[[GooglePublisher, GoogleCommands], object]

EXCEPTIONS: dict[tuple[Call, grpc.StatusCode], type[CloudError] | None] = {
    # An acknowledgement that comes too late is no error.
    (acknowledging, grpc.StatusCode.INVALID_ARGUMENT): None,
    (acknowledging, grpc.StatusCode.OUT_OF_RANGE): None,
    # There is no message to set aside.
    (pulling, grpc.StatusCode.INVALID_ARGUMENT): BlockedError,
    (pulling, grpc.StatusCode.OUT_OF_RANGE): BlockedError,
    (counting, grpc.StatusCode.INVALID_ARGUMENT): BlockedError,
    (counting, grpc.StatusCode.OUT_OF_RANGE): BlockedError,
}


@pytest.mark.parametrize("code", MEANINGS, ids=lambda code: code.name)
@pytest.mark.parametrize("call", [publishing, counting, pulling, acknowledging])
def test_each_status_means_something_on_each_call(
    refuser: tuple[Refuser, str], call: Call, code: grpc.StatusCode
) -> None:
    handler, host = refuser
    handler.code = code
    with emulator_host(host):
        publisher = GooglePublisher(waits=HURRIED)
        commands = GoogleCommands(DOWNLINK.replace("topics", "subscriptions"), waits=HURRIED)
    try:
        expected = EXCEPTIONS.get((call, code), MEANINGS[code])
        if expected is None:
            assert not call(publisher, commands)
            return
        with pytest.raises(CloudError) as caught:
            call(publisher, commands)
        assert type(caught.value) is expected
        assert "projects/some-project" in str(caught.value)
        assert f"{code.name}: as the test wants" in str(caught.value)
    finally:
        publisher.close()
        commands.close()


def test_a_pull_without_a_message_is_no_error(tmp_path: Path) -> None:
    """Its end is our own deadline; one that ends much earlier is trouble on the way."""
    with LocalPubsub(tmp_path) as server, Pubsub(f"127.0.0.1:{server.port}") as clients:
        clients.publisher.create_topic(name=DOWNLINK)
        subscription = clients.subscription(DOWNLINK)
        with emulator_host(f"127.0.0.1:{server.port}"):
            commands = GoogleCommands(subscription, waits=Waits(pull_s=0.3))
        assert commands.pull() == []
        commands.close()


def test_a_server_that_is_not_there_is_transient() -> None:
    with emulator_host("127.0.0.1:1"):
        publisher = GooglePublisher(waits=HURRIED)
    with pytest.raises(TransientError):
        publisher.publish(EVENTS, [OutMessage(b"1", {})])
    publisher.close()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (auth.TransportError, TransientError),
        (auth.RefreshError, BlockedError),
        (auth.DefaultCredentialsError, BlockedError),
    ],
)
def test_credentials_that_fail_while_running_are_told_apart(
    kind: Callable[[str], Exception], expected: type[CloudError]
) -> None:
    assert type(error_of("publishing", kind("away"))) is expected


def test_a_library_that_gives_up_trying_says_why() -> None:
    retry_error: Any = exceptions.RetryError
    unavailable: Any = exceptions.ServiceUnavailable
    given_up = retry_error("Timeout of 5.0s exceeded", unavailable("The disk is full"))
    assert str(error_of("publishing", given_up)) == "publishing: UNAVAILABLE: The disk is full"
    without = retry_error("Timeout of 5.0s exceeded", None)
    assert "Timeout of 5.0s" in str(error_of("publishing", without))


def test_an_address_from_the_settings_comes_before_that_of_the_environment(
    refuser: tuple[Refuser, str],
) -> None:
    handler, host = refuser
    handler.code = grpc.StatusCode.UNAUTHENTICATED
    calls = handler.calls
    with emulator_host("127.0.0.1:1"):
        publisher = GooglePublisher(None, HURRIED, address=host)
        commands = GoogleCommands("projects/p/subscriptions/s", address=host)
    for call in (publishing, pulling):
        with pytest.raises(BlockedError):
            call(publisher, commands)
    assert handler.calls == calls + 2
    publisher.close()
    commands.close()


def test_an_address_from_the_settings_needs_no_credentials(refuser: tuple[Refuser, str]) -> None:
    assert "PUBSUB_EMULATOR_HOST" not in os.environ
    publisher = GooglePublisher(Path("/nowhere/key.json"), address=refuser[1])
    publisher.close()


def test_credentials_that_cannot_be_read_are_a_mistake_in_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text("{}")
    for each in (path, tmp_path / "absent.json"):
        with pytest.raises(ConfigError, match="credentials_file"):
            make_publisher_client(each)


def test_a_message_that_protobuf_cannot_hold_is_rejected() -> None:
    with emulator_host("127.0.0.1:1"):
        publisher = GooglePublisher()
    with pytest.raises(RejectedError):
        publisher.publish(EVENTS, [OutMessage(b"1", {"ce-subject": "\ud800"})])
    publisher.close()
