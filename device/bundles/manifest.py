"""`model.toml`, the only truth about a model, to a checked `Bundle`."""

import hashlib
import re
import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from device.core.bundle import (
    Activation,
    Bundle,
    Colours,
    Fit,
    Golden,
    Group,
    InputSpec,
    ScoreKind,
    Variant,
)
from device.core.detection import Thresholds
from device.errors import ModelError

MANIFEST = "model.toml"
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"
VERSION_PATTERN = r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}$"
MANIFEST_MAX_BYTES = 4_000_000
LABELS_MAX_BYTES = 16_000_000

Score = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1, max_length=2000)]
Three = Annotated[tuple[float, float, float], Field(strict=False)]
Stds = Annotated[
    tuple[
        Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]
    ],
    Field(strict=False),
]


def _inner_file(name: str) -> str:
    parts = PurePosixPath(name).parts
    if not name or name.startswith("/") or "\\" in name or "\0" in name or ".." in parts:
        raise ValueError(f'"{name}" leads out of the bundle; want a path inside its folder')
    return name


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class _Input(_Part):
    height_px: Annotated[int, Field(ge=1, le=4096)]
    width_px: Annotated[int, Field(ge=1, le=4096)]
    fit: Fit
    colours: Colours
    mean: Three
    std: Stds


class _Labels(_Part):
    file: Text
    count: Annotated[int, Field(ge=2, le=1_000_000)]
    background: bool


class _Variant(_Part):
    file: Text


class _Thresholds(_Part):
    low: Score
    high: Score

    @model_validator(mode="after")
    def _ordered(self) -> "_Thresholds":
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}; want low <= high")
        return self


class _Group(_Thresholds):
    labels: Annotated[list[Text], Field(min_length=1)]


class _Golden(_Part):
    picture: Text
    label: Text | None = None
    group: Text | None = None
    least_score: Score
    source: str | None = None
    licence: str | None = None
    author: str | None = None

    @model_validator(mode="after")
    def _named(self) -> "_Golden":
        if self.label is None and self.group is None:
            raise ValueError("says neither label nor group; want what the picture shows")
        return self


class Manifest(_Part):
    """`model.toml` as it stands in the file."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    version: Annotated[str, Field(pattern=VERSION_PATTERN)]
    kind: Literal["classifier"]
    description: Text
    licence: Text
    licence_file: Text | None = None
    source: Text
    scores: ScoreKind
    activation: Activation
    input: _Input
    labels: _Labels
    files: dict[Text, Annotated[str, Field(pattern=SHA256_PATTERN)]]
    variants: dict[Variant, _Variant]
    thresholds: _Thresholds
    thresholds_by_label: dict[str, _Thresholds] = {}
    groups: dict[Annotated[str, Field(pattern=NAME_PATTERN)], _Group] = {}
    golden: list[_Golden] = []
    provenance: dict[str, Any] = {}

    @model_validator(mode="after")
    def _whole(self) -> "Manifest":
        """Every file that is used has its hash, and none leads out of the folder."""
        if "cpu" not in self.variants:
            raise ValueError("no [variants.cpu]; want the model file for the CPU")
        for name in (*self.files, *self.used_files):
            _inner_file(name)
        missing = [name for name in self.used_files if name not in self.files]
        if missing:
            raise ValueError(f"[files] has no sha256 of {', '.join(missing)}")
        return self

    @property
    def used_files(self) -> tuple[str, ...]:
        """Every file that this manifest speaks of."""
        found = [self.labels.file]
        found += [variant.file for variant in self.variants.values()]
        found += [golden.picture for golden in self.golden]
        found += [self.licence_file] if self.licence_file else []
        return tuple(dict.fromkeys(found))


def read_bundle(folder: Path) -> Bundle:
    """The bundle in `folder`, its labels read, no hash proven.

    Raises:
        ModelError: with every mistake, one a line.
    """
    content = read_manifest_bytes(folder)
    manifest = parse_manifest(content, f"{folder.name}/{MANIFEST}")
    labels = read_labels(inner_path(folder, manifest.labels.file), manifest.labels.file)
    return to_bundle(manifest, labels, hashlib.sha256(content).hexdigest(), folder)


def read_manifest_bytes(folder: Path) -> bytes:
    """Raises ModelError."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder; want a bundle: a folder with {MANIFEST}")
    try:
        with path.open("rb") as file:
            content = file.read(MANIFEST_MAX_BYTES + 1)
    except FileNotFoundError as exc:
        raise ModelError(
            f"{folder}: has no {MANIFEST}; want a bundle: make one with "
            "`lookout model make --tflite FILE --labels FILE --output FOLDER`"
        ) from exc
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read: {exc.strerror}") from exc
    if len(content) > MANIFEST_MAX_BYTES:
        raise ModelError(f"{path}: over {MANIFEST_MAX_BYTES} bytes; want a plain {MANIFEST}")
    return content


def parse_manifest(content: bytes, name: str) -> Manifest:
    """`name` stands in messages. Raises ModelError with every mistake, one a line."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ModelError(f"{name}: not UTF-8 at byte {exc.start}; want a TOML file") from exc
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ModelError(f"{name}: not TOML: {exc}") from exc
    try:
        return Manifest.model_validate(raw)
    except ValidationError as exc:
        mistakes = [
            f"{name}:{_line(text, error['loc'])}: {_dotted(error['loc'])}: {_message(error)}"
            for error in exc.errors(include_url=False)
        ]
        raise ModelError("\n".join(mistakes)) from exc


def read_labels(path: Path, name: str) -> tuple[str, ...]:
    """One label a line, as `make` writes them. Raises ModelError."""
    try:
        if path.stat().st_size > LABELS_MAX_BYTES:
            raise ModelError(f"{name}: over {LABELS_MAX_BYTES} bytes; want one label a line")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise ModelError(f"{name}: no such file in the bundle; want one label a line") from exc
    except UnicodeDecodeError as exc:
        raise ModelError(f"{name}: not UTF-8 at byte {exc.start}; want one label a line") from exc
    except OSError as exc:
        raise ModelError(f"{name}: cannot be read: {exc.strerror}") from exc
    return tuple(line.strip() for line in text.removesuffix("\n").split("\n"))


def to_bundle(manifest: Manifest, labels: Sequence[str], sha256: str, folder: Path) -> Bundle:
    """Raises ModelError with every name that does not fit the labels."""
    mistakes = _label_mistakes(manifest, labels)
    if mistakes:
        where = f"{folder.name}/{MANIFEST}"
        raise ModelError("\n".join(f"{where}: {mistake}" for mistake in mistakes))
    return Bundle(
        name=manifest.name,
        version=manifest.version,
        kind=manifest.kind,
        description=manifest.description,
        licence=manifest.licence,
        source=manifest.source,
        scores=manifest.scores,
        activation=manifest.activation,
        input=InputSpec(**manifest.input.model_dump()),
        labels=tuple(labels),
        has_background=manifest.labels.background,
        groups={
            name: Group(name=name, labels=tuple(group.labels), thresholds=_thresholds(group))
            for name, group in manifest.groups.items()
        },
        thresholds=_thresholds(manifest.thresholds),
        thresholds_by_label={
            label: _thresholds(each) for label, each in manifest.thresholds_by_label.items()
        },
        goldens=tuple(
            Golden(
                picture=golden.picture,
                least_score=golden.least_score,
                label=golden.label,
                group=golden.group,
            )
            for golden in manifest.golden
        ),
        variants={variant: each.file for variant, each in manifest.variants.items()},
        sha256=sha256,
        folder=folder,
    )


def inner_path(folder: Path, name: str) -> Path:
    """The file called `name` in the bundle.

    Raises:
        ModelError: it is not there, or a link leads out of the folder.
    """
    path = folder / name
    try:
        resolved = path.resolve(strict=True)
    except (OSError, RuntimeError) as exc:
        raise ModelError(f"{name}: no such file in {folder}; copy the bundle again") from exc
    if not resolved.is_relative_to(folder.resolve()):
        raise ModelError(f"{name}: leads out of the bundle, to {resolved}; want a plain file")
    if not resolved.is_file():
        raise ModelError(f"{name}: not a plain file; copy the bundle again")
    return path


def _label_mistakes(manifest: Manifest, labels: Sequence[str]) -> list[str]:
    mistakes = []
    if len(labels) != manifest.labels.count:
        mistakes.append(
            f"labels.count: says {manifest.labels.count}, but {manifest.labels.file} has "
            f"{len(labels)} lines"
        )
    seen: set[str] = set()
    for line, label in enumerate(labels, start=1):
        if not label:
            mistakes.append(f"{manifest.labels.file}:{line}: an empty label; want a name")
        elif label in seen:
            mistakes.append(f'{manifest.labels.file}:{line}: "{label}" is there twice')
        seen.add(label)
    known = labels[1:] if manifest.labels.background else labels
    names: list[tuple[str, str]] = []
    names += [(f"thresholds_by_label.{each}", each) for each in manifest.thresholds_by_label]
    for name, group in manifest.groups.items():
        names += [(f"groups.{name}.labels", label) for label in group.labels]
        if len(set(group.labels)) != len(group.labels):
            mistakes.append(f"groups.{name}.labels: names a label twice")
    names += [
        (f"golden.{golden.picture}", golden.label) for golden in manifest.golden if golden.label
    ]
    known_set = set(known)
    mistakes += [
        f'{key}: no label "{name}"{did_you_mean(name, known)}'
        for key, name in names
        if name not in known_set
    ]
    mistakes += [
        f'golden.{golden.picture}: no group "{golden.group}"'
        f"{did_you_mean(golden.group, list(manifest.groups))}"
        for golden in manifest.golden
        if golden.group and golden.group not in manifest.groups
    ]
    return mistakes


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """The end of a sentence about a name that is not known."""
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""


def _thresholds(part: _Thresholds) -> Thresholds:
    return Thresholds(low=part.low, high=part.high)


def _message(error: ErrorDetails) -> str:
    match error["type"]:
        case "extra_forbidden":
            known = _keys_at(error["loc"][:-1])
            hint = did_you_mean(str(error["loc"][-1]), known)
            return f"unknown key{hint}" + (f"; keys here: {', '.join(known)}" if known else "")
        case "missing":
            return "missing; this key is needed here"
        case "value_error":
            return str(error["ctx"]["error"])
        case "string_pattern_mismatch":
            wanted = {
                NAME_PATTERN: 'small letters, digits, - and _, such as "garden-birds"',
                SHA256_PATTERN: "64 hex digits: a sha256",
                VERSION_PATTERN: 'a version such as "1.0.0"',
            }[error["ctx"]["pattern"]]
            return f"got {error['input']!r}; want {wanted}"
        case _:
            wanted = error["msg"].removeprefix("Input should be ").removeprefix("a valid ")
            return f"got {str(error['input'])[:60]!r}; want {wanted}"


def _keys_at(location: Sequence[str | int]) -> list[str]:
    model: Any = Manifest
    for part in location:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(part))
            model = field.annotation if field else None
        else:
            inner = [each for each in get_args(model) if isinstance(each, type)]
            model = inner[-1] if inner else None
    if isinstance(model, type) and issubclass(model, BaseModel):
        return [field.alias or name for name, field in model.model_fields.items()]
    return []


def _dotted(location: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in location if part != "[key]") or "the whole"


def _line(text: str, location: Sequence[str | int]) -> int:
    """Of the key, or of the nearest table around it; 1 when neither is found."""
    names = [str(part) for part in location if isinstance(part, str) and part != "[key]"]
    lines = text.splitlines()
    table: list[str] = []
    best, best_depth = 1, 0
    for number, line in enumerate(lines, start=1):
        if header := re.match(r"^\s*\[+\s*([^\[\]]+?)\s*\]+", line):
            table = _split(header[1])
            here = table
        elif key := re.match(r"""^\s*("[^"]*"|'[^']*'|[A-Za-z0-9_.-]+)\s*=""", line):
            here = [*table, *_split(key[1])]
        else:
            continue
        depth = len(here)
        if here == names[:depth] and depth > best_depth:
            best, best_depth = number, depth
    return best


def _split(key: str) -> list[str]:
    if key[:1] in "\"'":
        return [key[1:-1]]
    return [part.strip().strip("\"'") for part in key.split(".")]
