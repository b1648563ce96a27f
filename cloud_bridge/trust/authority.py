"""A certificate authority in a folder: its key, its certificate, its ledger, its revocation list.

The keys that it makes for others are not kept.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from cloud_bridge.errors import ConfigError
from cloud_bridge.instance_lock import InstanceLock
from cloud_bridge.trust.certificates import (
    Pair,
    Signer,
    load_signer,
    make_authority,
    revocation_list,
    sign,
)
from cloud_bridge.trust.files import PRIVATE, PUBLIC, make_folder, read_file, write_file
from cloud_bridge.trust.ledger import Entry, Ledger, ledger_text, parse_ledger
from cloud_bridge.trust.names import Role

KEY, CERTIFICATE, LEDGER, LIST = "ca.key", "ca.crt", "ledger.json", "crl.pem"


class Authority:
    """One process at a time; a context manager. The ledger is on disk before a certificate is
    handed out, so that none exists that could not be revoked."""

    def __init__(self, folder: Path, clock: Callable[[], datetime], *, may_make: bool) -> None:
        """clock: wall time, UTC. may_make: make an authority where the folder holds none.

        Raises:
            ConfigError: there is none, a part is missing, or its key can be read by others.
            OutputError: the folder cannot be written.
            TransientError: another process has it.
        """
        self.folder = folder
        self._clock = clock
        self.is_new = _is_new(folder)
        if self.is_new and not may_make:
            raise ConfigError(
                f"no certificate authority in {folder}; want the folder that `lookout-cloud "
                "device add` made: name it with --ca-dir"
            )
        make_folder(folder)
        self._lock = InstanceLock(folder, "name another with --ca-dir")
        try:
            # Asked again: another process may have made it since.
            self.is_new = _is_new(folder)
            if self.is_new:
                self._make()
            self._signer = self._load()
            self.ledger = parse_ledger(
                read_file(folder / LEDGER, "bring it back from a copy of the folder"),
                str(folder / LEDGER),
            )
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    @property
    def now(self) -> datetime:
        return self._clock()

    @property
    def certificate(self) -> bytes:
        """PEM; who trusts it trusts all that it signed."""
        return (self.folder / CERTIFICATE).read_bytes()

    @property
    def not_after(self) -> datetime:
        return self._signer.not_after

    def issue(
        self,
        name: str,
        role: Role,
        life: timedelta,
        *,
        registry: str | None = None,
        hosts: Sequence[str] = (),
    ) -> tuple[Pair, Entry]:
        """A new key and certificate, in the ledger already.

        Raises:
            ConfigError: it would outlive the authority.
            OutputError: the ledger cannot be written; nothing was issued.
        """
        pair, entry = sign(
            self._signer,
            name=name,
            role=role,
            registry=registry,
            hosts=hosts,
            now=self.now,
            life=life,
        )
        self._keep(self.ledger.adding(entry))
        return pair, entry

    def revoke(self, serials: Iterable[str]) -> None:
        """And write the list. Again is no harm. Raises OutputError."""
        self._keep(self.ledger.revoking(serials, self.now).numbering())
        write_file(self.folder / LIST, self.revocations(), PUBLIC)

    def revocations(self) -> bytes:
        """The list as it is now, PEM."""
        return revocation_list(self._signer, self.ledger.entries, self.ledger.crl_number, self.now)

    def _make(self) -> None:
        pair = make_authority(self.now)
        signer = load_signer(pair, str(self.folder))
        ledger = Ledger(crl_number=1)
        write_file(self.folder / LEDGER, ledger_text(ledger), PRIVATE)
        write_file(self.folder / LIST, revocation_list(signer, (), 1, self.now), PUBLIC)
        write_file(self.folder / KEY, pair.key, PRIVATE)
        # Last: a folder with a certificate is a whole authority.
        write_file(self.folder / CERTIFICATE, pair.certificate, PUBLIC)

    def _load(self) -> Signer:
        key = self.folder / KEY
        mend = "bring it back from a copy of the folder"
        content = read_file(key, mend)
        mode = key.stat().st_mode & 0o777
        if mode & 0o077:
            raise ConfigError(
                f"{key} can be read by others (mode {mode:04o}); want 0600: chmod 600 it, and "
                "replace the authority if anybody may have copied it"
            )
        return load_signer(
            Pair(read_file(self.folder / CERTIFICATE, mend), content), str(self.folder)
        )

    def _keep(self, ledger: Ledger) -> None:
        write_file(self.folder / LEDGER, ledger_text(ledger), PRIVATE)
        self.ledger = ledger


def _is_new(folder: Path) -> bool:
    """Nothing was ever signed here: the folder is empty, or making the authority was cut off.

    Raises:
        ConfigError: its certificate is gone, and certificates that it gave are not.
    """
    if (folder / CERTIFICATE).exists():
        return False
    ledger = folder / LEDGER
    mend = f"bring {CERTIFICATE} and {KEY} back from a copy of the folder"
    if ledger.exists() and parse_ledger(read_file(ledger, mend), str(ledger)).entries:
        raise ConfigError(
            f"{folder}: {LEDGER} names certificates, and {CERTIFICATE} is gone; want the whole "
            f"authority: {mend}, or name an empty folder with --ca-dir for a new one"
        )
    if (folder / KEY).exists() and not ledger.exists():
        # Made in this order, a key without a ledger was not left behind by us.
        raise ConfigError(f"{folder} holds {KEY} and no {CERTIFICATE}; {mend}")
    return True


def other_authorities(folders: Sequence[Path]) -> tuple[list[bytes], list[bytes]]:
    """Certificates and revocation lists (PEM) of authorities that are trusted too, while one
    takes over from another. Raises ConfigError."""
    wish = "want the folder of an authority, with its ca.crt and crl.pem"
    return (
        [read_file(folder / CERTIFICATE, wish) for folder in folders],
        [read_file(folder / LIST, wish) for folder in folders],
    )
