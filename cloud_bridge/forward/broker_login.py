"""The files that the bridge logs in with: authorities, certificate, key, password."""

import ssl
from pathlib import Path

from cloud_bridge.config import TlsConfig


class LinkError(Exception):
    """The connection cannot be made, or used any longer; words for people."""


def password(path: Path) -> str:
    """The file's text without the end of its last line. Raises LinkError."""
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise LinkError(
            f"[mqtt] password_file {path}: {exc}; want a file that holds the password"
        ) from exc


def tls_context(config: TlsConfig) -> ssl.SSLContext:
    """Read anew for each connection: a renewed certificate needs no restart. Raises LinkError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if config.ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(config.ca_file)
        if config.cert_file is not None and config.key_file is not None:
            # An encrypted key would ask on the terminal: nobody sits there.
            context.load_cert_chain(config.cert_file, config.key_file, password=lambda: "")
    except (OSError, ValueError) as exc:  # SSLError is an OSError
        raise LinkError(
            f"[mqtt.tls] {exc}; want PEM files that this user may read: ca_file {config.ca_file}, "
            f"cert_file {config.cert_file}, key_file {config.key_file}"
        ) from exc
    return context
