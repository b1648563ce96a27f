"""Why there is no connection to the broker, in words for people: found, wanted, how to mend."""

import ssl
from collections.abc import Sequence

from cloud_bridge.config import MqttConfig

_CONNACK = {
    0x84: "it does not speak MQTT 5; want a broker that does, such as mosquitto from 1.6",
    0x85: "it refuses the client id; want [mqtt] client_id to be one that it admits",
    0x86: "user name or password are wrong; mend [mqtt] username and password_file",
    0x87: "this user may not connect; allow it in the broker's settings",
}
_DISCONNECT = {
    0x8B: "it is shutting down; it is tried again",
    0x8E: "another client has the same client id; give each bridge a [mqtt] client_id of its own",
}


def place(config: MqttConfig) -> str:
    return f"broker {config.host}:{config.port_number}"


def of_connack(config: MqttConfig, code: int, name: str) -> str:
    return f"{place(config)}: {_CONNACK.get(code, f'it refuses the connection ({name})')}"


def of_disconnect(config: MqttConfig, code: int, name: str) -> str:
    return f"{place(config)}: {_DISCONNECT.get(code, f'it ended the connection ({name})')}"


def of_exception(config: MqttConfig, exc: OSError) -> str:
    """exc: what connecting raised."""
    match exc:
        case ssl.SSLCertVerificationError():
            found = (
                f"its certificate is not accepted ({exc.verify_message}); want one for "
                f'"{config.host}" from an authority that [mqtt.tls] ca_file names'
            )
        case ConnectionRefusedError():
            found = "nothing listens there; start the broker, or mend [mqtt] host and port"
        case TimeoutError():
            found = "it does not answer in time; look at the network, and for a firewall"
        case ssl.SSLError() | ConnectionResetError() if config.tls is not None:
            found = f"TLS failed ({exc}); want its TLS port (usually 8883): mend [mqtt] port"
        case _:
            found = f"connecting failed ({exc}); it is tried again"
    return f"{place(config)}: {found}"


def of_end(config: MqttConfig, was_connected: bool) -> str:
    if was_connected:
        return (
            f"{place(config)}: the connection was lost; if that goes on, another client may have "
            "the same client id: give each bridge a [mqtt] client_id of its own"
        )
    if config.tls is None:
        hint = "it may want TLS: [mqtt.tls]"
    elif config.tls.cert_file is None:
        hint = "it may want a client certificate: [mqtt.tls] cert_file and key_file"
    else:
        # With TLS 1.3 the refusal comes after the handshake, and looks like this.
        hint = (
            f"it may refuse the certificate {config.tls.cert_file}, as one that was revoked or is "
            "of another authority: its log says so; docs/certificates.md"
        )
    return f"{place(config)}: it closed the connection without an answer; {hint}"


def of_failure(config: MqttConfig, exc: Exception) -> str:
    name = "" if isinstance(exc, OSError) else f"{type(exc).__name__}: "
    return f"{place(config)}: {name}{exc}; it is tried again"


def of_subscription(config: MqttConfig, refused: Sequence[str]) -> str:
    return (
        f"{place(config)}: it refuses the subscription to {', '.join(refused)}; allow this user "
        "to read these topics"
    )


def of_silence(config: MqttConfig) -> str:
    return f"{place(config)}: it does not answer in time; is it an MQTT broker? mend [mqtt] port"


def of_puback(config: MqttConfig, name: str) -> str:
    return f"{place(config)}: it refuses it ({name}); allow this user to write the topic"


def of_deaf_device(config: MqttConfig) -> str:
    return (
        f"{place(config)}: nobody listens to it: the device is away for longer than the broker "
        "keeps its session, or there is none of this name"
    )
