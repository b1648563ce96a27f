"""The ledger of an authority: every certificate that it gave, to whom, until when, and which were
revoked. One JSON file, replaced as a whole; functions from old to new."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloud_bridge.errors import ConfigError
from cloud_bridge.trust.names import Role

WARN_DAYS = 90
"""A certificate that ends within so many days wants renewal."""

Standing = Literal["valid", "ends soon", "superseded", "expired", "revoked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One certificate. serial: hex, as `openssl x509 -serial` prints it."""

    serial: str
    name: str
    role: Role
    registry: str | None
    not_before: datetime
    not_after: datetime
    revoked: datetime | None = None

    def is_active(self, now: datetime) -> bool:
        """The broker lets it in."""
        return self.revoked is None and now < self.not_after

    def days_left(self, now: datetime) -> int:
        return (self.not_after - now).days


@dataclass(frozen=True, slots=True)
class Ledger:
    """crl_number: of the last revocation list; grows by one with each."""

    entries: tuple[Entry, ...] = ()
    crl_number: int = 0

    def adding(self, entry: Entry) -> "Ledger":
        return Ledger((*self.entries, entry), self.crl_number)

    def numbering(self) -> "Ledger":
        """With the next list's number."""
        return Ledger(self.entries, self.crl_number + 1)

    def revoking(self, serials: Iterable[str], now: datetime) -> "Ledger":
        """Those that are revoked already keep their time."""
        ended = set(serials)
        return Ledger(
            tuple(
                replace(each, revoked=now)
                if each.serial in ended and each.revoked is None
                else each
                for each in self.entries
            ),
            self.crl_number,
        )

    def of(self, name: str, role: Role) -> tuple[Entry, ...]:
        """Every certificate of `name` in this role, oldest first: a box may be called as the
        broker's host is."""
        return tuple(each for each in self.entries if (each.name, each.role) == (name, role))

    def active(self, name: str, role: Role, now: datetime) -> tuple[Entry, ...]:
        return tuple(each for each in self.of(name, role) if each.is_active(now))

    def roles_of(self, name: str) -> tuple[Role, ...]:
        """Each once; evictions are nobody's."""
        found = dict.fromkeys(each.role for each in self.entries if each.name == name)
        return tuple(role for role in found if role != "eviction")

    def names(self, role: Role, now: datetime) -> tuple[str, ...]:
        """Who holds a certificate that counts now, each once, in alphabetical order."""
        return tuple(
            sorted(
                {each.name for each in self.entries if each.role == role and each.is_active(now)}
            )
        )

    def registry_of(self, name: str) -> str | None:
        """Of a box."""
        found = self.of(name, "device")
        return found[-1].registry if found else None

    def standing(self, entry: Entry, now: datetime) -> Standing:
        if entry.revoked is not None:
            return "revoked"
        if now >= entry.not_after:
            return "expired"
        if entry is not self.active(entry.name, entry.role, now)[-1]:
            return "superseded"
        return "ends soon" if entry.days_left(now) < WARN_DAYS else "valid"


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")

    serial: Annotated[str, Field(pattern=r"^[0-9A-F]{2,40}$")]
    name: Annotated[str, Field(min_length=1)]
    role: Role
    registry: str | None
    not_before: datetime
    not_after: datetime
    revoked: datetime | None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1]
    crl_number: Annotated[int, Field(ge=0)]
    certificates: list[_Row]


def parse_ledger(text: bytes, where: str) -> Ledger:
    """Raises ConfigError."""
    try:
        file = _File.model_validate_json(text)
    except ValidationError as exc:
        mistake = exc.errors()[0]
        place = ".".join(map(str, mistake["loc"]))
        raise ConfigError(
            f"{where} is damaged ({place}: {mistake['msg']}); want it as it was written: bring it "
            "back from a copy of the folder"
        ) from exc
    entries = tuple(
        Entry(
            serial=row.serial,
            name=row.name,
            role=row.role,
            registry=row.registry,
            not_before=row.not_before.astimezone(UTC),
            not_after=row.not_after.astimezone(UTC),
            revoked=None if row.revoked is None else row.revoked.astimezone(UTC),
        )
        for row in file.certificates
    )
    return Ledger(entries, file.crl_number)


def ledger_text(ledger: Ledger) -> bytes:
    """JSON, one line a field, UTF-8."""
    rows = [
        _Row(
            serial=each.serial,
            name=each.name,
            role=each.role,
            registry=each.registry,
            not_before=each.not_before,
            not_after=each.not_after,
            revoked=each.revoked,
        )
        for each in ledger.entries
    ]
    file = _File(version=1, crl_number=ledger.crl_number, certificates=rows)
    return f"{file.model_dump_json(indent=1)}\n".encode()
