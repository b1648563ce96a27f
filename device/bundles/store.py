"""Bundles on disk: those of this box, then the embedded ones, found by name or by folder."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from device.bundles.manifest import (
    MANIFEST,
    did_you_mean,
    inner_path,
    parse_manifest,
    read_bundle,
    read_manifest_bytes,
)
from device.core.bundle import Bundle, Variant
from device.errors import ModelError

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FileProof:
    """Whether a file of a bundle is the one that its `model.toml` names. problem: None if so."""

    name: str
    problem: str | None


def embedded_folders() -> list[Path]:
    """Where the bundles are that come with the program: in a wheel, or beside the sources."""
    device = Path(__file__).resolve().parents[1]
    return [device / "embedded", device.parent / "models"]


class FolderStore:
    """Reads only; any thread may ask."""

    def __init__(self, bundles: Path | None, embedded: Sequence[Path] | None = None) -> None:
        """bundles: the box's own, which may hide embedded ones of the same name."""
        self._folders = [] if bundles is None else [bundles]
        self._folders += embedded_folders() if embedded is None else embedded

    def find(self, name_or_folder: str) -> Bundle:
        """The bundle of that name, or in that folder, with its files' hashes proven.

        Raises:
            ModelError: there is none, or it is not whole; the message says what is.
        """
        folder = self.folder_of(name_or_folder)
        bundle = read_bundle(folder)
        bad = [proof for proof in prove_files(folder) if proof.problem is not None]
        if bad:
            raise ModelError(
                "\n".join(f"bundle {bundle.name}: {proof.name}: {proof.problem}" for proof in bad)
            )
        return bundle

    def names(self) -> list[str]:
        """Of every folder that has a `model.toml`, whole or not; sorted."""
        return sorted({folder.name for folder in self._candidates()})

    def variant_path(self, bundle: Bundle, variant: Variant) -> Path:
        """Raises ModelError when the bundle has no such variant."""
        if variant not in bundle.variants:
            raise ModelError(
                f'bundle {bundle.name} has no variant "{variant}"; '
                f"it has: {', '.join(bundle.variants)}"
            )
        return inner_path(Path(bundle.folder), bundle.variants[variant])

    def folder_of(self, name_or_folder: str) -> Path:
        """Raises ModelError when nothing of that name is there."""
        named = [folder for folder in self._candidates() if folder.name == name_or_folder]
        path = Path(name_or_folder)
        if named and (path.name != name_or_folder or not (path / MANIFEST).is_file()):
            return named[0]
        if path.name == MANIFEST and path.is_file():
            return path.parent
        if path.is_dir():
            return path
        if path.is_file():
            raise ModelError(
                f"{path}: a file; want a bundle (a folder with {MANIFEST}): make one with "
                "`lookout model make --tflite FILE --labels FILE --output FOLDER`"
            )
        names = self.names()
        raise ModelError(
            f'no bundle "{name_or_folder}"{did_you_mean(name_or_folder, names)}; '
            f"bundles here: {', '.join(names) or 'none'}; or name a folder with {MANIFEST}"
        )

    def _candidates(self) -> Iterator[Path]:
        for parent in self._folders:
            try:
                inside = sorted(parent.iterdir())
            except OSError:
                continue
            yield from (folder for folder in inside if (folder / MANIFEST).is_file())


def prove_files(folder: Path) -> list[FileProof]:
    """Each file that `model.toml` names, against its sha256.

    Raises:
        ModelError: `model.toml` itself cannot be read.
    """
    manifest = parse_manifest(read_manifest_bytes(folder), f"{folder.name}/{MANIFEST}")
    return [_prove(folder, name, wanted) for name, wanted in manifest.files.items()]


def sha256_of(path: Path) -> str:
    """Hex digits. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _prove(folder: Path, name: str, wanted: str) -> FileProof:
    try:
        found = sha256_of(inner_path(folder, name))
    except ModelError as exc:
        return FileProof(name, str(exc))
    except OSError as exc:
        return FileProof(name, f"cannot be read: {exc.strerror}")
    if found == wanted:
        return FileProof(name, None)
    return FileProof(
        name,
        f"has sha256 {found[:12]}..., but {MANIFEST} says {wanted[:12]}...: the file was changed "
        "or damaged; copy the bundle again",
    )
