"""`lookout model make`: a bundle out of anyone's `.tflite` and labels file."""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.bundles.check import Report, check_bundle, edgetpu_problem, first_error, need_ok
from device.bundles.draft import Draft, to_toml
from device.bundles.endings import last_operator, need_scores
from device.bundles.evidence import Expected, Reading, choose, groups_like, probes_of, recognised
from device.bundles.folders import put_in_place, refuse_to_replace
from device.bundles.goldens import copy_pictures, prove_golden
from device.bundles.labels import layouts, read_lines
from device.bundles.manifest import MANIFEST, read_bundle
from device.bundles.ranges import Candidate, candidates, input_shape
from device.bundles.store import sha256_of
from device.bundles.tflite_file import EDGETPU_OPERATOR, FileFacts
from device.bundles.trial import NetworkFacts, TrialRequest, TrialResult, TryModel, check_start
from device.core.bundle import Activation, Bundle, Fit, Golden, ScoreKind, Variant
from device.core.detection import Thresholds
from device.errors import ModelError, PictureError

LABELS = "labels.txt"
PROBES_KNOWN = 2
SUM_SLACK = 0.05
"""Quantized scores of a thousand labels do not add up to one exactly."""
THRESHOLDS: dict[ScoreKind, Thresholds] = {
    "exclusive": Thresholds(low=0.2, high=0.35),
    "independent": Thresholds(low=0.3, high=0.5),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeRequest:
    """What `lookout model make` was asked for. goldens: picture and what it shows.
    input_range: a key of `ranges.RANGES`, or None to find it out."""

    tflite: Path
    labels: Path
    output: Path
    name: str | None = None
    goldens: tuple[tuple[Path, str], ...] = ()
    fit: Fit = "squash"
    input_range: str | None = None
    edgetpu: Path | None = None
    licence: str = "unknown"
    source: str | None = None
    force: bool = False
    runtime: str = "auto"
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Made:
    """The new bundle, what was decided on the way (for people), and its check."""

    bundle: Bundle
    notes: tuple[str, ...]
    report: Report


@dataclass(frozen=True, slots=True)
class _Decision:
    candidate: Candidate
    reading: Reading
    activation: Activation
    scores: ScoreKind
    notes: tuple[str, ...]


def make_bundle(request: MakeRequest, try_model: TryModel, embedded: Bundle | None) -> Made:
    """Only a whole and checked bundle ever stands at `request.output`.

    embedded: lends its golden pictures and groups to models of the same things.

    Raises:
        ModelError: no classifier, or labels or golden pictures that do not fit it.
        PictureError: a golden picture that cannot be read.
        OutputError: the output cannot be written, or is there already.
    """
    refuse_to_replace(request.output, request.force)
    check_start(request.tflite)
    lines = read_lines(request.labels)
    with put_in_place(request.output, request.force) as folder:
        variants: dict[Variant, str] = {"cpu": model_name(request.tflite)}
        shutil.copyfile(request.tflite, folder / variants["cpu"])
        pictures = copy_pictures(request.goldens, folder)
        copies = {folder / variants["cpu"]: request.tflite}
        copies |= {
            each.picture: given for each, (given, _) in zip(pictures, request.goldens, strict=True)
        }
        if request.edgetpu is not None:
            variants["edgetpu"] = _take_edgetpu(request, request.edgetpu, folder)
            copies[folder / variants["edgetpu"]] = request.edgetpu
        with _as_given(_given(request, folder, copies)):
            maker = _Maker(request, folder, variants, try_model, embedded)
            decision = maker.decide(lines, pictures)
            bundle = maker.write(decision, pictures)
            report = check_bundle(folder, try_model, request.runtime, request.threads)
            need_ok(report)
        result = replace(bundle, folder=request.output)
    return Made(result, decision.notes, report)


class _Maker:
    def __init__(
        self,
        request: MakeRequest,
        folder: Path,
        variants: Mapping[Variant, str],
        try_model: TryModel,
        embedded: Bundle | None,
    ) -> None:
        self._request = request
        self._folder = folder
        self._variants = variants
        self._model = str(folder / variants["cpu"])
        self._try_model = try_model
        self._embedded = embedded

    def decide(self, lines: Sequence[str], goldens: Sequence[Expected]) -> _Decision:
        """Find out what the file does not say."""
        result = self._try(TrialRequest(model=self._model))
        network = _need_classifier(self._request.tflite, result)
        [tensor] = network.inputs
        [output] = network.outputs
        need_scores(self._request.tflite.name, network.operators, output.shape[-1])
        shape = input_shape(tensor, self._request.fit)
        readings = self._readings(lines, output.shape[-1], network)
        assert result.file is not None  # noqa: S101 - the child sends it before the network
        self._prove_edgetpu(result.file)
        ways = candidates(shape, tensor, result.file, self._request.input_range)
        activation, scores, why = last_operator(network.operators)
        expected = [*goldens, *probes_of(self._embedded)]
        answers = self._answers(ways, activation, expected)
        if why is None:
            activation, why = _activation_of(answers, network.operators)
            if activation != "none":
                answers = self._answers(ways, activation, expected)
        way, reading, notes = _choose(ways, readings, answers, expected, bool(goldens))
        notes += _probed(answers[ways.index(way)], reading, expected[len(goldens) :])
        way = replace(way, reason=notes[0].partition("; ")[2])
        notes += [f"scores: {scores}; {why}"]
        notes += [f"labels: {reading.layout.note}"] if reading.layout.note else []
        if reading.groups:
            notes += [f"groups: {len(reading.groups)}, taken from the embedded bundle"]
        return _Decision(way, reading, activation, scores, tuple(notes))

    def write(
        self,
        decision: _Decision,
        goldens: Sequence[Expected],
    ) -> Bundle:
        """Labels and `model.toml`, first without golden pictures, then with them."""
        layout = decision.reading.layout
        (self._folder / LABELS).write_text("\n".join(layout.labels) + "\n", encoding="utf-8")
        used = [LABELS, *self._variants.values()]
        used += [str(golden.picture.relative_to(self._folder)) for golden in goldens]
        request = self._request
        draft = Draft(
            name=bundle_name(request.name or request.output.resolve().name),
            description=f"Classifies pictures under {len(layout.labels)} labels.",
            licence=request.licence,
            source=request.source or f"the file {request.tflite.name}",
            scores=decision.scores,
            activation=decision.activation,
            input=decision.candidate.spec,
            label_count=len(layout.labels),
            has_background=layout.has_background,
            files={name: sha256_of(self._folder / name) for name in used},
            variants=self._variants,
            thresholds=THRESHOLDS[decision.scores],
            groups=decision.reading.groups,
            goldens=(),
            provenance={
                "made_by": "lookout model make",
                "tflite": request.tflite.name,
                "labels": request.labels.name,
                "input_range": decision.candidate.name,
                "input_range_reason": decision.candidate.reason,
                "decisions": "; ".join(decision.notes),
            },
        )
        bundle = self._save(draft)
        if goldens:
            proven = self._goldens(bundle, decision.reading, goldens)
            bundle = self._save(replace(draft, goldens=proven))
        return bundle

    def _save(self, draft: Draft) -> Bundle:
        (self._folder / MANIFEST).write_text(to_toml(draft), encoding="utf-8")
        return read_bundle(self._folder)

    def _readings(self, lines: Sequence[str], count: int, network: NetworkFacts) -> list[Reading]:
        try:
            found = layouts(lines, count, self._request.labels.name)
        except ModelError as exc:
            if last_operator(network.operators)[2] is None:
                raise ModelError(
                    f"{exc}. Its last operator is {network.operators[-1]}, not a softmax: "
                    "it may be a feature extractor"
                ) from exc
            raise
        return [Reading(layout, groups_like(self._embedded, layout)) for layout in found]

    def _goldens(
        self, bundle: Bundle, reading: Reading, goldens: Sequence[Expected]
    ) -> tuple[Golden, ...]:
        rows = [reading.rows(golden.name) for golden in goldens]
        request = TrialRequest(
            model=self._model,
            activation=bundle.activation,
            specs=(bundle.input,),
            pictures=tuple(str(golden.picture) for golden in goldens),
        )
        result = self._try(request)
        _raise_first(result)
        return tuple(
            prove_golden(
                bundle,
                golden.name,
                rows[number],
                result.answers[0, number],
                str(golden.picture.relative_to(self._folder)),
            )
            for number, golden in enumerate(goldens)
        )

    def _answers(
        self, ways: Sequence[Candidate], activation: Activation, expected: Sequence[Expected]
    ) -> list[NDArray[np.float32]]:
        """For each way, (pictures, scores); of plain grey alone where there are no pictures."""
        result = self._try(
            TrialRequest(
                model=self._model,
                activation=activation,
                specs=tuple(way.spec for way in ways),
                pictures=tuple(str(each.picture) for each in expected),
            )
        )
        _raise_first(result)
        numbers = range(len(expected)) if expected else [-1]
        return [
            np.stack([result.answers[spec, number] for number in numbers])
            for spec in range(len(ways))
        ]

    def _prove_edgetpu(self, cpu: FileFacts) -> None:
        if "edgetpu" not in self._variants:
            return
        name = self._variants["edgetpu"]
        result = self._try(TrialRequest(model=str(self._folder / name)))
        if result.file is None:
            _raise_first(result)
        elif (problem := edgetpu_problem(cpu, result.file)) is not None:
            raise ModelError(f"{name}: {problem}, as --edgetpu")

    def _try(self, request: TrialRequest) -> TrialResult:
        request = replace(request, runtime=self._request.runtime, threads=self._request.threads)
        return self._try_model(request)


def bundle_name(text: str) -> str:
    """Small letters, digits, - and _, as near to `text` as can be."""
    name = re.sub(r"[^a-z0-9_-]+", "-", text.casefold()).strip("-_")[:64]
    return name or "model"


def model_name(path: Path) -> str:
    """What the file is called inside the bundle: as outside, as near as can be."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip(".-") or "model"
    return f"{stem[:100]}.tflite"


def _choose(
    ways: Sequence[Candidate],
    readings: Sequence[Reading],
    answers: Sequence[NDArray[np.float32]],
    expected: Sequence[Expected],
    is_golden: bool,
) -> tuple[Candidate, Reading, list[str]]:
    if len(ways) == 1 and len(readings) == 1:
        return ways[0], readings[0], [_told(ways[0], ways[0].reason)]
    names = [each.name for each in expected]
    choice = choose(answers, readings, names, 1 if is_golden else PROBES_KNOWN)
    way, reading = ways[choice.spec], readings[choice.reading]
    if len(ways) == 1:
        return way, reading, [_told(way, way.reason)]
    if choice.is_named:
        why = "it recognises the golden pictures best with it"
        if not is_golden:
            why = "it recognises the embedded bundle's golden pictures best with it"
    else:
        why = "a guess, the likeliest of those tried: give --golden or --input-range to be sure"
    tried = ", ".join(
        f"{each.name} {merit:.2f}" for each, merit in zip(ways, choice.merits, strict=True)
    )
    return way, reading, [_told(way, f"{why} ({tried})")]


def _probed(answer: NDArray[np.float32], reading: Reading, probes: Sequence[Expected]) -> list[str]:
    """A proof in passing, where the model's labels are those of the embedded bundle."""
    right, known = recognised(
        answer[len(answer) - len(probes) :], reading, [p.name for p in probes]
    )
    if known < PROBES_KNOWN:
        return []
    told = f"known pictures: it recognises {right} of the embedded bundle's {known}"
    doubt = "; the file, its labels or its input range may be wrong: prove it with --golden"
    return [told if right else told + doubt]


def _told(way: Candidate, why: str) -> str:
    return f"input range: {way.name}; {why}"


def _activation_of(
    answers: Sequence[NDArray[np.float32]], operators: Sequence[str]
) -> tuple[Activation, str]:
    sums = np.concatenate([answer.sum(axis=1) for answer in answers])
    if np.abs(sums - 1.0).max() <= SUM_SLACK:
        return "none", "its scores add up to one as they are"
    end = operators[-1] if operators else "nothing"
    return "softmax", f"the model ends in {end}, so a softmax is applied to what it gives"


def _need_classifier(path: Path, result: TrialResult) -> NetworkFacts:
    if result.file is not None and EDGETPU_OPERATOR in result.file.custom_operators:
        raise ModelError(
            f"{path.name}: compiled for an Edge TPU, which no CPU can run; want the CPU's file as "
            "--tflite (the one without _edgetpu), and this one beside it as --edgetpu"
        )
    _raise_first(result)
    return result.need_network()


def _raise_first(result: TrialResult) -> None:
    error = first_error(result)
    if error is not None:
        raise error


def _take_edgetpu(request: MakeRequest, path: Path, folder: Path) -> str:
    """Copied into the bundle; its name there."""
    check_start(path)
    name = model_name(path)
    if name == model_name(request.tflite):
        name = f"edgetpu-{name}"
    shutil.copyfile(path, folder / name)
    return name


@contextmanager
def _as_given(names: Mapping[str, str]) -> Iterator[None]:
    """Errors inside speak of the files that the person named, not of our copies of them.

    names: what we call a thing to what the person does.
    """
    longest_first = sorted(names, key=len, reverse=True)
    ours = re.compile("|".join(rf"(?<![\w-]){re.escape(name)}(?![\w-])" for name in longest_first))
    try:
        yield
    except (ModelError, PictureError) as exc:
        told = ours.sub(lambda found: names[found[0]], str(exc))
        raise type(exc)(told) from exc


def _given(request: MakeRequest, folder: Path, copies: Mapping[Path, Path]) -> dict[str, str]:
    """copies: a file inside `folder` to the one that it was copied from."""
    names = {folder.name: request.output.resolve().name}
    for ours in (folder, folder.resolve()):
        names[str(ours)] = str(request.output)
        names |= {str(ours / copy.relative_to(folder)): str(copies[copy]) for copy in copies}
    return names | {copy.name: copies[copy].name for copy in copies}
