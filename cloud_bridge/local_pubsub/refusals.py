"""What a caller of the service is told instead of an answer: a gRPC status and a sentence."""

from grpc import StatusCode


class RefusedError(Exception):
    """Ends a call; never leaves this room but as a gRPC status.

    code: what the client library does next depends on it. words: what was found, what is wanted.
    """

    def __init__(self, code: StatusCode, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


def invalid(words: str) -> RefusedError:
    return RefusedError(StatusCode.INVALID_ARGUMENT, words)


def not_found(name: str) -> RefusedError:
    """As the real service says it; the client library shows it to the person."""
    return RefusedError(StatusCode.NOT_FOUND, f"Resource not found (resource={last_part(name)}).")


def already_exists(name: str) -> RefusedError:
    return RefusedError(
        StatusCode.ALREADY_EXISTS, f"Resource already exists (resource={last_part(name)})."
    )


def unimplemented(what: str, instead: str) -> RefusedError:
    """what: the feature that is absent here. instead: what does the same."""
    return RefusedError(
        StatusCode.UNIMPLEMENTED, f"{what}: not there in the local Pub/Sub; want {instead}."
    )


def last_part(name: str) -> str:
    return name.rpartition("/")[2]
