"""Anyone's labels file to one name for each score of the model."""

import re
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device.bundles.manifest import LABELS_MAX_BYTES, did_you_mean
from device.errors import ModelError

BACKGROUND = "background"
NUMBERED = re.compile(r"^\s*(\d+)\s*[:,;\t ]\s*(\S.*)$")
WANTED = "want a text file with one label a line"


@dataclass(frozen=True, slots=True)
class Layout:
    """labels: one for each score, in its order, all different. has_background: score 0 is of no
    label. note: what was done to the file's lines, for people; empty if nothing."""

    labels: tuple[str, ...]
    has_background: bool
    note: str = ""


def read_lines(path: Path) -> tuple[str, ...]:
    """The labels in their order: numbers and byte order mark taken off, empty lines at the end
    dropped. Raises ModelError."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ModelError(f"{path}: a folder; {WANTED}")
        if not stat.S_ISREG(status.st_mode):  # a named pipe would be waited for, for ever
            raise ModelError(f"{path}: not a regular file; {WANTED}")
        if status.st_size > LABELS_MAX_BYTES:
            raise ModelError(f"{path}: over {LABELS_MAX_BYTES} bytes; {WANTED}")
        content = path.read_bytes()
    except FileNotFoundError as exc:
        raise ModelError(f"{path}: no such file; {WANTED}") from exc
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read: {exc.strerror}") from exc
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as exc:
        raise ModelError(
            f"{path}: not UTF-8 at byte {exc.start}; {WANTED}, saved as UTF-8"
        ) from exc
    if "\0" in text:
        raise ModelError(f"{path}: not text (a zero byte in it); {WANTED}")
    # Not `splitlines`, which also splits at characters that may stand inside a label.
    lines = [" ".join(line.split()) for line in re.split(r"\r\n|\n|\r", text)]
    while lines and not lines[-1]:
        lines.pop()
    if not any(lines):
        raise ModelError(f"{path}: no labels in it; {WANTED}")
    return tuple(_without_numbers(lines))


def layouts(lines: Sequence[str], count: int, name: str) -> list[Layout]:
    """How the lines may belong to the model's `count` scores, likeliest first.

    Raises:
        ModelError: their numbers do not fit, or most of them are repeats.
    """
    filled = [line for line in lines if line]
    candidates = [list(lines)] if len(filled) == len(lines) else [list(lines), filled]
    found = []
    for each in candidates:
        first, last = _is_background(each[0]), _is_background(each[-1])
        if len(each) == count:
            note = "" if not last else "the last label is background; it is kept as a label"
            found.append(_layout(each, first, note))
        elif len(each) == count + 1 and first:
            note = "the background label was left out: the model has no score for it"
            found.append(_layout(each[1:], False, note))
        elif len(each) == count + 1 and last:
            note = "the background label was left out: the model has no score for it"
            found.append(_layout(each[:-1], False, note))
        elif len(each) == count - 1 and not first and not last:
            note = "a background label was put first: the model has one score more than labels"
            found.append(_layout([BACKGROUND, *each], True, note))
            note = "a background label was put last: the model has one score more than labels"
            found.append(_layout([*each, BACKGROUND], False, note))
    if not found:
        raise ModelError(
            f"the model gives {count} scores, but {name} has {len(filled)} labels; "
            "want one label a score (a background row may be absent on either side): "
            "take the labels file that belongs to this model, or the model that classifies"
        )
    different = len(set(lines))
    if len(lines) - different > len(lines) / 2:
        raise ModelError(
            f"{name} has {len(lines)} labels, but only {different} different ones; want a name "
            "of its own for each score: take the labels file that belongs to this model"
        )
    return found


def rows_of(name: str, layout: Layout) -> list[int]:
    """Rows of the labels that a person means by `name`: that label, or one that lists it among
    its synonyms ("tench, Tinca tinca"). Raises ModelError when there is none."""
    known = [row for row in range(len(layout.labels)) if row or not layout.has_background]
    wanted = _plain(name)
    for spellings in (_whole, synonyms):
        rows = [row for row in known if wanted in spellings(layout.labels[row])]
        if rows:
            return rows
    names = [layout.labels[row] for row in known]
    parts = {part: label for label in names for part in (label, *synonyms(label))}
    raise ModelError(
        f'no label "{name}" among the {len(names)} of the model{did_you_mean(name, list(parts))}'
    )


def synonyms(label: str) -> set[str]:
    """The names that a label lists, as they are compared."""
    return {_plain(part) for part in label.split(",")}


def _whole(label: str) -> set[str]:
    return {_plain(label)}


def _plain(text: str) -> str:
    """Without case, underscores and WordNet's number, and without the number or word that told
    two equal labels apart."""
    spaced = " ".join(text.replace("_", " ").split())
    return re.sub(r"^n\d{8}[ :,-]+| \([^()]*\)$", "", spaced).casefold()


def _is_background(label: str) -> bool:
    return label.casefold() in (BACKGROUND, "unused background", "__background__", "dummy")


def _layout(lines: Sequence[str], has_background: bool, note: str) -> Layout:
    labels = _unique(lines)
    notes = [note] if note else []
    unnamed = [new for old, new in zip(lines, labels, strict=True) if not old]
    again = [new for old, new in zip(lines, labels, strict=True) if old and new != old]
    if again:
        notes.append(
            f'{len(again)} renamed, such as "{again[0]}", because the same name stands in the '
            "file before, and each score needs one of its own"
        )
    if unnamed:
        notes.append(f'{len(unnamed)} without a name in the file called "{unnamed[0]}" or the like')
    return Layout(tuple(labels), has_background, "; ".join(notes))


def _unique(lines: Sequence[str]) -> list[str]:
    """Empty ones get a name, equal ones a number."""
    named = [line or f"unnamed {row}" for row, line in enumerate(lines)]
    taken = set(named)
    seen: Counter[str] = Counter()
    unique = []
    for label in named:
        seen[label] += 1
        number, new = seen[label], label
        while number > 1 and new in taken:
            new = f"{label} ({number})"
            number += 1
        taken.add(new)
        unique.append(new)
    return unique


def _without_numbers(lines: Sequence[str]) -> list[str]:
    """`0 name`, `0: name`, `0,name`: in the order of the numbers, if they are a whole row."""
    matches = [NUMBERED.match(line) for line in lines if line]
    numbers = [int(match[1]) for match in matches if match is not None]
    if len(numbers) != len(matches) or len(numbers) < 2:
        return list(lines)
    first = min(numbers)
    if first > 1 or sorted(numbers) != list(range(first, first + len(numbers))):
        return list(lines)
    names = {int(match[1]): match[2] for match in matches if match is not None}
    return [names[number] for number in sorted(names)]
