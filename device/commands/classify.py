"""`lookout classify`: what a model sees in pictures."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from device import assembly
from device.commands.options import positive_count
from device.commands.screen import complain, say, say_json
from device.config import DeviceConfig
from device.core.bundle import Bundle
from device.core.scores import Ranked, Scores, best_groups, best_labels
from device.errors import ExitCode, PictureError
from device.picture_files import read_picture
from device.ports import BundleStore

TIE = 0.01
"""Below one in a hundred the ranks of a quantized model are ties, and are not shown."""

EMBEDDED = "imagenet"
RUNTIMES = ("auto", "ai-edge-litert", "tflite-runtime")


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "classify",
        help="say what is in pictures",
        description="Say what a model sees in each picture, best first.",
    )
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="a picture file")
    parser.add_argument(
        "--model",
        default=EMBEDDED,
        metavar="DIR_OR_NAME",
        help="a bundle's folder, or its name (default: %(default)s)",
    )
    parser.add_argument(
        "--top",
        type=positive_count,
        default=5,
        metavar="N",
        help="how many labels (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="one object a line")
    add_runtime_options(parser)
    parser.set_defaults(run=run)


def add_runtime_options(parser: argparse.ArgumentParser) -> None:
    """What every command that runs a model understands."""
    parser.add_argument(
        "--runtime", choices=RUNTIMES, default="auto", help="the TFLite runtime (default: auto)"
    )
    parser.add_argument(
        "--threads", type=positive_count, default=2, metavar="N", help="default: %(default)s"
    )


@contextmanager
def native_output_hushed() -> Iterator[None]:
    """Keep to ourselves what native code writes to standard error: the runtimes greet each
    delegate there, and no setting of theirs stops it. Their errors come as exceptions too."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def bundles() -> BundleStore:
    """The box's own, where this machine is one, and the embedded ones."""
    return assembly.open_bundles(DeviceConfig().state_dir)


def run(arguments: argparse.Namespace) -> int:
    """Every picture that can be read is classified; the others are named, and the exit says so."""
    bundle = bundles().find(arguments.model)
    runtime = assembly.open_runtime(arguments.runtime)
    with native_output_hushed():
        classifier = assembly.open_classifier(bundle, runtime, arguments.threads)
    code = ExitCode.OK
    for name in arguments.pictures:
        try:
            image = read_picture(Path(name))
        except PictureError as exc:
            complain(str(exc))
            code = exc.exit_code
            continue
        scores = classifier.classify(image)
        if arguments.json:
            say_json(as_json(name, bundle, scores, arguments.top))
        else:
            say(as_text(name, bundle, scores, arguments.top))
    return int(code)


def as_json(name: str, bundle: Bundle, scores: Scores, top: int) -> dict[str, Any]:
    """One line of the contract with other programs."""
    return {
        "picture": name,
        "labels": [
            {"label": each.name, "score": round(each.score, 4)}
            for each in _shown(best_labels(bundle, scores, top))
        ],
        "groups": [
            {"group": each.name, "score": round(each.score, 4)}
            for each in _shown(best_groups(bundle, scores, top))
        ],
        "inference_ms": round(scores.inference_ns / 1e6, 3),
    }


def as_text(name: str, bundle: Bundle, scores: Scores, top: int) -> str:
    """The picture, its groups, its labels."""
    lines = [f"{name}  ({scores.inference_ns / 1e6:.1f} ms)"]
    groups = [each for each in best_groups(bundle, scores, top) if each.score >= TIE]
    if groups:
        found = ", ".join(f"{each.name} {each.score:.2f}" for each in groups)
        lines.append(f"  groups: {found}")
    lines += [
        f"  {each.score:.2f}  {each.name}" for each in _shown(best_labels(bundle, scores, top))
    ]
    return "\n".join(lines)


def _shown(ranked: list[Ranked]) -> list[Ranked]:
    """Those above the ties, the best one always."""
    return [each for row, each in enumerate(ranked) if row == 0 or each.score >= TIE]
