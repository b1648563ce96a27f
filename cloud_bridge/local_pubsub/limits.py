"""The bounds of a Publish request, those of the real service.

Source: the page "Quotas and limits" of Pub/Sub. A caller who minds them here will not be refused
there.
"""

from cloud_bridge.local_pubsub.messages import Message
from cloud_bridge.local_pubsub.refusals import invalid, unimplemented

REQUEST_BYTES_AT_MOST = 10_000_000
MESSAGES_AT_MOST = 1000
ATTRIBUTES_AT_MOST = 100
KEY_BYTES_AT_MOST = 256
VALUE_BYTES_AT_MOST = 1024


def check_publish(request: Message) -> None:
    """Raises RefusedError: nothing of the request may be stored."""
    count = len(request.messages)
    if not 1 <= count <= MESSAGES_AT_MOST:
        raise invalid(f"{count} messages in a request; want 1 to {MESSAGES_AT_MOST}.")
    size_bytes = request.ByteSize()
    if size_bytes > REQUEST_BYTES_AT_MOST:
        raise invalid(
            f"Request payload size exceeds the limit: {REQUEST_BYTES_AT_MOST} bytes "
            f"(found {size_bytes})."
        )
    for number, message in enumerate(request.messages):
        if message.ordering_key:
            raise unimplemented(
                "Ordering keys", "messages without one, put in order by a number of their own"
            )
        if message.attributes:
            _check_attributes(number, message.attributes)
        elif not message.data:
            raise invalid(f"Message {number} is empty; want data or at least one attribute.")


def _check_attributes(number: int, attributes: Message) -> None:
    if len(attributes) > ATTRIBUTES_AT_MOST:
        raise invalid(
            f"Message {number} has {len(attributes)} attributes; want at most {ATTRIBUTES_AT_MOST}."
        )
    for key, value in attributes.items():
        if not key or key.startswith("goog"):
            raise invalid(
                f"Message {number} has the attribute {key!r}; want a key that is not empty and "
                "does not begin with goog."
            )
        # The length in characters is quick and can only be the smaller one.
        if 4 * len(key) > KEY_BYTES_AT_MOST and len(key.encode()) > KEY_BYTES_AT_MOST:
            raise invalid(
                f"Message {number} has an attribute key of {len(key.encode())} bytes; want at "
                f"most {KEY_BYTES_AT_MOST}."
            )
        if 4 * len(value) > VALUE_BYTES_AT_MOST and len(value.encode()) > VALUE_BYTES_AT_MOST:
            raise invalid(
                f"Message {number} has {len(value.encode())} bytes in the attribute "
                f"{key[:50]!r}; want at most {VALUE_BYTES_AT_MOST}."
            )
