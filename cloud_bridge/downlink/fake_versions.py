"""Versions in memory."""


class FakeVersions:
    """Matches `ports.Versions`; forgets all when it is gone."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str], tuple[int, str]] = {}

    def admit(self, registry: str, device: str, version: int, digest: str) -> int | None:
        newest = self._newest.setdefault((registry, device), (version, digest))
        if version > newest[0]:
            newest = self._newest[registry, device] = (version, digest)
        return None if newest == (version, digest) else newest[0]

    def close(self) -> None: ...
