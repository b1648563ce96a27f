"""`lookout model`: bundles on disk: list, show, check, make."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from device.bundles.check import Report, check_bundle
from device.bundles.make import Made, MakeRequest, make_bundle
from device.bundles.ranges import RANGES
from device.bundles.trial import TryModel, run_trial
from device.commands.classify import EMBEDDED, add_runtime_options, bundles
from device.commands.screen import complain, say, say_json
from device.core.bundle import Bundle
from device.errors import ExitCode, LookoutError, ModelError

TEXT_MAX = 2000
"""Characters of a text in `model.toml`."""
ROOT = Path(__file__).resolve().parents[2]
TRIAL = (
    # -P: no module of the folder in which the person stands. The root is put last, for sources
    # that are not installed.
    "-P",
    "-c",
    "import sys; sys.path.append(sys.argv[1]); "
    "from device.commands.trial import run_alone; sys.exit(run_alone())",
)


def add_to(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "model", help="list, show, check and make bundles", description="Bundles: models on disk."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    listing = actions.add_parser("list", help="name the bundles that are here")
    listing.set_defaults(run=run_list)

    show = actions.add_parser("show", help="say what a bundle is and what it recognises")
    show.add_argument("bundle", metavar="NAME", help="a bundle's name, or its folder")
    show.set_defaults(run=run_show)

    check = actions.add_parser("check", help="prove that a bundle is whole and sees what it should")
    check.add_argument("bundle", metavar="DIR_OR_NAME", help="a bundle's folder, or its name")
    add_runtime_options(check)
    check.set_defaults(run=run_check)

    make = actions.add_parser("make", help="build a bundle from a .tflite and a labels file")
    make.add_argument("--tflite", type=Path, required=True, metavar="FILE", help="the CPU's model")
    make.add_argument("--labels", type=Path, required=True, metavar="FILE", help="one label a line")
    make.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="the folder to make"
    )
    make.add_argument("--name", help="of the bundle (default: the folder's)")
    make.add_argument(
        "--golden",
        action="append",
        default=[],
        metavar="PICTURE=LABEL",
        help="a picture, and the label that the model must see in it; may be given several times",
    )
    make.add_argument(
        "--fit",
        choices=("squash", "crop"),
        default="squash",
        help="whole pictures squashed to the model's shape, or their largest centre "
        "(default: %(default)s)",
    )
    make.add_argument(
        "--input-range",
        choices=tuple(RANGES),
        help="what the model's pixels span (default: found out)",
    )
    make.add_argument("--edgetpu", type=Path, metavar="FILE", help="the same, for an Edge TPU")
    make.add_argument(
        "--licence", type=_text, default="unknown", metavar="ID", help="such as Apache-2.0"
    )
    make.add_argument("--source", type=_text, metavar="TEXT", help="where the model comes from")
    make.add_argument("--force", action="store_true", help="replace a bundle that is there")
    add_runtime_options(make)
    make.set_defaults(run=run_make)

    for each in (listing, show, check, make):
        each.add_argument("--json", action="store_true", help="one object a line")


def run_list(arguments: argparse.Namespace) -> int:
    """A bundle that is not whole is listed too, with what is wrong; then the exit is 65."""
    store = bundles()
    code = ExitCode.OK
    for name in store.names():
        try:
            bundle = store.find(name)
        except ModelError as exc:
            code = exc.exit_code
            if arguments.json:
                say_json({"name": name, "ok": False, "problem": str(exc)})
            else:
                complain(f"{name}: not whole: {exc}")
            continue
        if arguments.json:
            say_json({**_summary(bundle), "ok": True})
        else:
            say(f"{bundle.name} {bundle.version}  {bundle.description}")
    return int(code)


def run_show(arguments: argparse.Namespace) -> int:
    """What `model.toml` says, once its hashes are proven."""
    bundle = bundles().find(arguments.bundle)
    if arguments.json:
        say_json(_details(bundle))
        return 0
    spec, size = bundle.input, f"{bundle.input.height_px}x{bundle.input.width_px}"
    say(f"{bundle.name} {bundle.version}: {bundle.description}")
    say(f"  folder      {bundle.folder}")
    say(f"  licence     {bundle.licence}")
    say(f"  source      {bundle.source}")
    say(f"  input       {size} (height x width), {spec.fit}, {spec.colours}")
    say(f"  scores      {bundle.scores}, activation {bundle.activation}")
    say(f"  thresholds  low {bundle.thresholds.low}, high {bundle.thresholds.high}")
    say(f"  variants    {', '.join(bundle.variants)}")
    say(f"  labels      {len(bundle.labels) - bundle.has_background}")
    say(f"  groups      {', '.join(bundle.groups) or 'none'}")
    say(f"  golden      {len(bundle.goldens)} pictures")
    say(f"  sha256      {bundle.sha256}")
    return 0


def run_check(arguments: argparse.Namespace) -> int:
    """Every check, good or bad; 65 if any failed."""
    folder = bundles().folder_of(arguments.bundle)
    report = check_bundle(folder, trial(), arguments.runtime, arguments.threads)
    if arguments.json:
        say_json(_report(report))
    else:
        _say_report(report)
    return int(ExitCode.OK if report.is_ok else ExitCode.BAD_MODEL)


def run_make(arguments: argparse.Namespace) -> int:
    """Nothing is left behind unless the bundle is whole and checked."""
    request = MakeRequest(
        tflite=arguments.tflite,
        labels=arguments.labels,
        output=arguments.output,
        name=arguments.name,
        goldens=tuple(_golden(text) for text in arguments.golden),
        fit=arguments.fit,
        input_range=arguments.input_range,
        edgetpu=arguments.edgetpu,
        licence=arguments.licence,
        source=arguments.source,
        force=arguments.force,
        runtime=arguments.runtime,
        threads=arguments.threads,
    )
    made = make_bundle(request, trial(), _embedded())
    if arguments.json:
        say_json(_made(made))
        return 0
    say(f"made {made.bundle.name} in {made.bundle.folder}")
    for note in made.notes:
        say(f"  {note}")
    for golden in made.bundle.goldens:
        say(f"  golden: {golden.picture} {golden.label or golden.group} >= {golden.least_score}")
    if not made.bundle.goldens:
        say("  no golden pictures: that it recognises anything is not proven (--golden)")
    folder = shlex.quote(str(made.bundle.folder))
    say(f"try it: lookout classify --model {folder} PICTURE")
    return 0


def trial() -> TryModel:
    """Models are tried in a child of this very Python."""
    return partial(run_trial, command=[sys.executable, *TRIAL, str(ROOT)])


def _embedded() -> Bundle | None:
    try:
        return bundles().find(EMBEDDED)
    except ModelError:
        return None


def _golden(text: str) -> tuple[Path, str]:
    """The first `=` with a file in front of it divides; names of both may have one, too."""
    parts = text.split("=")
    for cut in range(1, len(parts)):
        picture, label = "=".join(parts[:cut]), "=".join(parts[cut:])
        if label.strip() and Path(picture).is_file():
            return Path(picture), label.strip()
    picture, _, label = text.partition("=")
    if not picture or not label.strip():
        raise LookoutUsageError(f'--golden "{text}": want PICTURE=LABEL, such as cat.jpg=tabby')
    return Path(picture), label.strip()


def _text(text: str) -> str:
    """For argparse: words that `model.toml` takes."""
    if not text.strip() or len(text) > TEXT_MAX:
        raise argparse.ArgumentTypeError(
            f'got {len(text)} characters, "{text[:20]}"; want text of 1 to {TEXT_MAX}, or leave '
            "the option out"
        )
    return text


class LookoutUsageError(LookoutError):
    """An argument that argparse alone cannot judge."""

    exit_code = ExitCode.USAGE


def _say_report(report: Report) -> None:
    for check in report.checks:
        say(f"{'ok    ' if check.is_ok else 'FAILED'}  {check.name}: {check.detail}")
    failed = [check.name for check in report.checks if not check.is_ok]
    name = report.bundle.name if report.bundle else "the bundle"
    if failed:
        complain(f"{name} is refused: {', '.join(failed)}")
    elif report.bundle is not None and not report.bundle.goldens:
        say(
            f"{name} is whole; nothing proves what it sees until it has a golden picture: "
            "give lookout model make one with --golden"
        )
    else:
        say(f"{name} is whole and sees what it should")


def _report(report: Report) -> dict[str, Any]:
    return {
        "bundle": report.bundle.name if report.bundle else None,
        "version": report.bundle.version if report.bundle else None,
        "sha256": report.bundle.sha256 if report.bundle else None,
        "ok": report.is_ok,
        "checks": [
            {"check": check.name, "ok": check.is_ok, "detail": check.detail}
            for check in report.checks
        ],
    }


def _made(made: Made) -> dict[str, Any]:
    return {**_details(made.bundle), "notes": list(made.notes), "ok": made.report.is_ok}


def _summary(bundle: Bundle) -> dict[str, Any]:
    return {
        "name": bundle.name,
        "version": bundle.version,
        "kind": bundle.kind,
        "description": bundle.description,
        "licence": bundle.licence,
        "labels": len(bundle.labels) - bundle.has_background,
        "groups": list(bundle.groups),
        "variants": list(bundle.variants),
        "folder": str(bundle.folder),
        "sha256": bundle.sha256,
    }


def _details(bundle: Bundle) -> dict[str, Any]:
    spec = bundle.input
    labels: Sequence[str] = bundle.labels[1 if bundle.has_background else 0 :]
    return {
        **_summary(bundle),
        "labels": list(labels),
        "groups": {name: list(group.labels) for name, group in bundle.groups.items()},
        "source": bundle.source,
        "scores": bundle.scores,
        "activation": bundle.activation,
        "input": {
            "height_px": spec.height_px,
            "width_px": spec.width_px,
            "fit": spec.fit,
            "colours": spec.colours,
            "mean": list(spec.mean),
            "std": list(spec.std),
        },
        "thresholds": {"low": bundle.thresholds.low, "high": bundle.thresholds.high},
        "golden": [
            {
                "picture": golden.picture,
                "label": golden.label,
                "group": golden.group,
                "least_score": golden.least_score,
            }
            for golden in bundle.goldens
        ],
    }
