"""Why there is no connection to the broker, in words for people: found, wanted, how to mend."""

import errno
import ssl

from device.config import MqttConfig

_CONNACK = {
    0x84: "it does not speak MQTT 5; want a broker that does, such as mosquitto from 1.6",
    0x85: "it refuses the client id; want [device] name to be one that it admits",
    0x86: "user name or password are wrong; mend [mqtt] username and password_file",
    0x87: "this user may not connect; allow it in the broker's settings, or mend [mqtt] username",
    0x88: "it says that it is not available; it is tried again",
    0x89: "it says that it is busy; it is tried again",
    0x8A: "it has banned this client; look into the broker's log",
    0x8C: "it wants another way to log in than user name and password",
    0x97: "a quota is used up; raise it in the broker's settings",
    0x9F: "it limits the rate of connections; it is tried again",
}

_DISCONNECT = {
    0x8B: "it is shutting down; it is tried again",
    0x8E: "another client has the same client id; give each device a [device] name of its own",
    0x95: "an event was too large for it; raise its packet size limit to 128 KiB",
    0x87: "this user may not do that; allow the device to write to its topics",
    0x93: "more events were under way than it takes; lower [mqtt] window",
    0x97: "a quota is used up; raise it in the broker's settings",
}

_PUBACK = {
    0x87: "this user may not write to the topic; allow it in the broker's access rules",
    0x90: "the topic is not one that it admits; allow it in the broker's settings",
    0x97: "a quota is used up; raise it in the broker's settings, or let someone read the events",
    0x99: "it does not like the payload's format",
}


def place(config: MqttConfig) -> str:
    return f"broker {config.host}:{config.port_number}"


def of_name(config: MqttConfig, found: str) -> str:
    return (
        f"{place(config)}: the name does not resolve ({found}); want a name that this network"
        " knows, or an address: mend [mqtt] host, or look at the name server"
    )


def of_slow_name(config: MqttConfig) -> str:
    return of_name(config, "no name server has answered yet")


def of_exception(config: MqttConfig, exc: Exception) -> str:
    """exc: what connecting raised."""
    return f"{place(config)}: {_of_tls(config, exc) or _of_network(exc)}"


def _of_tls(config: MqttConfig, exc: Exception) -> str | None:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not accepted ({exc.verify_message}); want one for"
            f' "{config.host}" from an authority that [mqtt.tls] ca_file names'
        )
    if isinstance(exc, ssl.SSLError) and not isinstance(exc, ssl.SSLEOFError):
        if exc.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}:
            return _NO_TLS
        return f"TLS failed ({exc.reason or exc}); look into the broker's log for its side of it"
    is_cut = isinstance(exc, ssl.SSLEOFError | ConnectionResetError | BrokenPipeError)
    if config.tls is not None and (is_cut or "handshake" in str(exc)):
        return _NO_TLS
    return None


_NO_TLS = (
    "it does not answer in TLS; want its TLS port (usually 8883): mend [mqtt] port, or take"
    " [mqtt.tls] away for a broker on this machine"
)


def _of_network(exc: Exception) -> str:
    if isinstance(exc, ConnectionRefusedError):
        return "nothing listens there; start the broker, or mend [mqtt] host and port"
    if isinstance(exc, TimeoutError):
        return "it does not answer in time; look at the network, and for a firewall"
    if isinstance(exc, OSError) and exc.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return "there is no way to it from here; look at the network"
    return f"connecting failed ({exc}); it is tried again"


def of_file(what: str, path: object, found: str) -> str:
    return f"[mqtt] {what} {path}: {found}; want a PEM file that this user may read"


def of_password_file(path: object, found: str) -> str:
    return f"[mqtt] password_file {path}: {found}; want a text file that holds the password"


def of_connack(config: MqttConfig, code: int, name: str) -> str:
    found = _CONNACK.get(code, f"it refuses the connection ({name}); look into the broker's log")
    return f"{place(config)}: {found}"


def of_disconnect(config: MqttConfig, code: int, name: str) -> str:
    found = _DISCONNECT.get(code, f"it ended the connection ({name}); it is tried again")
    return f"{place(config)}: {found}"


def of_silence(config: MqttConfig) -> str:
    return f"{place(config)}: it does not answer in time; is it an MQTT broker? mend [mqtt] port"


def of_end(config: MqttConfig, was_connected: bool, was_steady: bool) -> str:
    if was_connected and was_steady:
        return f"{place(config)}: the connection was lost; it is tried again"
    if was_connected:
        # mosquitto 2.0.11 says nothing when it throws one client off for another.
        return (
            f"{place(config)}: the connection was soon lost; if that goes on, another client may"
            " have the same client id: give each device a [device] name of its own"
        )
    if config.tls is None:
        hint = "it may want TLS: [mqtt.tls]"
    elif config.tls.cert_file is None:
        hint = "it may want a client certificate: [mqtt.tls] cert_file and key_file"
    else:
        # With TLS 1.3 the refusal comes after the handshake, and looks like this.
        hint = (
            f"it may refuse the certificate {config.tls.cert_file}, as one that was revoked or is"
            " of another authority: its log says so; docs/certificates.md"
        )
    return f"{place(config)}: it closed the connection without an answer; {hint}"


def of_puback(config: MqttConfig, code: int, name: str) -> str:
    found = _PUBACK.get(code, f"it refuses events ({name}); look into the broker's log")
    return f"{place(config)}: {found}"


def of_stall(config: MqttConfig) -> str:
    return (
        f"{place(config)}: it takes what is sent and has acknowledged nothing for half a minute;"
        " look into the broker's log, or start it anew"
    )


def of_mistake(config: MqttConfig, exc: Exception) -> str:
    found = f"{type(exc).__name__}: {exc}"
    return f"{place(config)}: what it sent brought out a mistake ({found}); it is tried again"


def of_topic(config: MqttConfig, topic: str, found: str) -> str:
    return f"{place(config)}: an event cannot be sent to {topic!r}: {found}"


def of_size(config: MqttConfig, size_bytes: int, limit_bytes: int) -> str:
    return (
        f"{place(config)}: it takes packets up to {limit_bytes} bytes and an event has"
        f" {size_bytes}; raise its packet size limit to 128 KiB"
    )


def of_subscription(config: MqttConfig, topic: str, name: str) -> str:
    """name: the broker's reason."""
    return (
        f"{place(config)}: it does not let this box listen to {topic} ({name}); allow it in the "
        "broker's access rules: without it no receipt, command or setting comes down"
    )
