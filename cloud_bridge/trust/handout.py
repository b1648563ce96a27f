"""What a box, a bridge or a broker is handed: a folder with key, certificate, authorities, and for
a box its settings."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cloud_bridge.errors import OutputError
from cloud_bridge.trust.certificates import Pair
from cloud_bridge.trust.files import PRIVATE, PUBLIC, write_files

AUTHORITIES = "ca.crt"
SETTINGS = "lookout.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSettings:
    """The first settings of a box. installed_in: where its folder will lie on the box."""

    name: str
    registry: str
    host: str
    port: int
    delivery: str
    installed_in: PurePosixPath

    def text(self) -> str:
        """TOML that `lookout config check` takes."""

        def quoted(value: object) -> str:
            return json.dumps(str(value), ensure_ascii=False)  # TOML's basic string takes JSON's

        files = self.installed_in
        return f"""\
# Made by `lookout-cloud device add {self.name}`. Every setting: docs/settings.md.

[device]
name = {quoted(self.name)}
registry = {quoted(self.registry)}

[mqtt]
host = {quoted(self.host)}
port = {self.port}
delivery = {quoted(self.delivery)}

[mqtt.tls]
ca_file = {quoted(files / AUTHORITIES)}
cert_file = {quoted(files / "device.crt")}
key_file = {quoted(files / "device.key")}
"""


def refuse_existing(folder: Path, role: str, *extra: str) -> None:
    """Raises OutputError: a file that would be written is there already."""
    for name in (f"{role}.key", f"{role}.crt", *extra):
        if (folder / name).exists():
            raise OutputError(
                f"{folder / name} is there already; want a folder without one: name another "
                "with --output, or use --force to replace it"
            )


def write_login(
    folder: Path, role: str, pair: Pair, authorities: Sequence[bytes], settings: str | None = None
) -> None:
    """`ca.crt`, `{role}.key`, `{role}.crt`, and `lookout.toml` where settings are given.

    Raises:
        OutputError: a file cannot be written.
    """
    files = {
        AUTHORITIES: (b"".join(authorities), PUBLIC),
        f"{role}.key": (pair.key, PRIVATE),
        f"{role}.crt": (pair.certificate, PUBLIC),
    }
    if settings is not None:
        files[SETTINGS] = (settings.encode(), PUBLIC)
    write_files(folder, files)
