"""The files that the box logs in with: authorities, certificate, key, password."""

import ssl
from pathlib import Path
from socket import socket

from device.config import MqttConfig, TlsConfig
from device.messaging import broker_problems as problems


class LoginError(Exception):
    """A file that the settings name cannot be used; its text is for people."""


class NamedContext(ssl.SSLContext):
    """Checks the certificate against the host's name, though the socket goes to an address:
    paho knows only the address, which was looked up before."""

    name = ""
    _last: ssl.SSLSocket | None = None

    def wrap_socket(
        self,
        sock: socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        self._last = super().wrap_socket(
            sock,
            server_side=server_side,
            do_handshake_on_connect=do_handshake_on_connect,
            suppress_ragged_eofs=suppress_ragged_eofs,
            server_hostname=self.name,
            session=session,
        )
        return self._last

    def abandon(self) -> None:
        """Close the socket whose handshake failed: paho forgets it, open."""
        if self._last is not None:
            self._last.close()


def tls_context(config: TlsConfig, host: str) -> NamedContext:
    """Read anew for each connection, so that a mended file needs no restart.

    Raises:
        LoginError: a file is missing, unreadable or not PEM.
    """
    context = NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.name = host
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.ca_file is None:
        context.load_default_certs()
    else:
        _prove_readable("tls.ca_file", config.ca_file)
        try:
            context.load_verify_locations(config.ca_file)
        except ssl.SSLError as exc:
            found = problems.of_file("tls.ca_file", config.ca_file, exc.reason or str(exc))
            raise LoginError(found) from exc
    if config.cert_file is not None and config.key_file is not None:
        _prove_readable("tls.cert_file", config.cert_file)
        _prove_readable("tls.key_file", config.key_file)
        try:
            # An encrypted key would ask on the terminal: nobody sits there.
            context.load_cert_chain(config.cert_file, config.key_file, password=lambda: "")
        except (ssl.SSLError, ValueError) as exc:
            found = f"with key_file {config.key_file}: {getattr(exc, 'reason', None) or exc}"
            raise LoginError(problems.of_file("tls.cert_file", config.cert_file, found)) from exc
    return context


def credentials(config: MqttConfig) -> tuple[str | None, str | None]:
    """User name and password, as far as there are any. Raises LoginError."""
    path = config.password_file if config.username is not None else None
    return config.username, None if path is None else password(path)


def password(path: Path) -> str:
    """The file's text without the end of its last line. Raises LoginError."""
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as exc:
        raise LoginError(problems.of_password_file(path, exc.strerror or str(exc))) from exc
    except UnicodeDecodeError as exc:
        raise LoginError(problems.of_password_file(path, "it is not UTF-8")) from exc


def _prove_readable(what: str, path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as exc:
        raise LoginError(problems.of_file(what, path, exc.strerror or str(exc))) from exc
