"""How a method becomes a gRPC call: refusals to statuses, and a clear word for what is absent."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import grpc

from cloud_bridge.local_pubsub.messages import Message, MessageClass
from cloud_bridge.local_pubsub.refusals import RefusedError, invalid, unimplemented

Context: TypeAlias = Any
"""grpc.aio.ServicerContext, which has no types."""

Method: TypeAlias = Callable[[Message, Context], Awaitable[Message]]

PAGE_AT_MOST = 1000

_ABSENT: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "Seek": ("Seek", "a subscriber that keeps what it may need again"),
        "CreateSnapshot": ("Snapshots", "a subscription of its own that nobody acknowledges"),
        "GetSnapshot": ("Snapshots", "a subscription of its own"),
        "ListSnapshots": ("Snapshots", "a subscription of its own"),
        "UpdateSnapshot": ("Snapshots", "a subscription of its own"),
        "DeleteSnapshot": ("Snapshots", "a subscription of its own"),
        "ListTopicSnapshots": ("Snapshots", "a subscription of its own"),
        "ModifyPushConfig": ("Push subscriptions", "Pull or StreamingPull"),
        "DetachSubscription": ("DetachSubscription", "DeleteSubscription"),
    }
)


def unary(method: Method, request: MessageClass, response: MessageClass) -> Any:  # noqa: ANN401 - gRPC's own
    """A call with one request and one response."""

    async def answer(message: Message, context: Context) -> Message:
        try:
            return await method(message, context)
        except RefusedError as refusal:
            await context.abort(refusal.code, refusal.words)

    return grpc.unary_unary_rpc_method_handler(
        answer, request.FromString, response.SerializeToString
    )


class AbsentCalls(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Asked last: whatever is not served is refused in words, instead of "Method not found"."""

    def service(self, handler_call_details: Any) -> Any:  # noqa: ANN401 - gRPC's own
        name = str(handler_call_details.method)
        what, instead = _ABSENT.get(
            name.rpartition("/")[2],
            (name.strip("/").replace("/", "."), "Publisher and Subscriber, or the real service"),
        )
        refusal = unimplemented(what, instead)

        async def answer(message: bytes, context: Context) -> bytes:
            await context.abort(refusal.code, refusal.words)
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


def page(names: list[str], page_size: int, page_token: str) -> tuple[list[str], str]:
    """Up to `page_size` of the sorted names behind the token, and the next token or "".

    Raises:
        RefusedError: a negative size.
    """
    if page_size < 0:
        raise invalid(f"page_size is {page_size}; want 0 (for the default) or more.")
    size = min(page_size or PAGE_AT_MOST, PAGE_AT_MOST)
    rest = [name for name in names if name > page_token]
    return rest[:size], rest[size - 1] if len(rest) > size else ""
