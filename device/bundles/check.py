"""The steps of `lookout model check`: is a bundle whole, and does it see what it should."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.bundles.manifest import read_bundle
from device.bundles.store import prove_files
from device.bundles.tflite_file import EDGETPU_OPERATOR, FileFacts
from device.bundles.trial import NetworkFacts, TrialRequest, TrialResult, TryModel, check_start
from device.core.bundle import Bundle, Golden
from device.core.scores import Scores, Targets, best_groups, best_labels
from device.errors import LookoutError, ModelError


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was proven, or not. detail: what was found."""

    name: str
    is_ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """bundle: None when not even `model.toml` could be read."""

    bundle: Bundle | None
    checks: tuple[Check, ...]

    @property
    def is_ok(self) -> bool:
        return all(check.is_ok for check in self.checks)


def check_bundle(folder: Path, try_model: TryModel, runtime: str, threads: int) -> Report:
    """Every step up to the first that makes the next ones pointless. Raises nothing of a bad
    bundle: the report says it."""
    try:
        bundle = read_bundle(folder)
    except ModelError as exc:
        return Report(None, (Check("model.toml", False, str(exc)),))
    told = f"{bundle.name} {bundle.version}, {len(bundle.labels)} labels"
    checks = [Check("model.toml", True, told), *_files(folder), *_starts(bundle)]
    if all(check.is_ok for check in checks):
        checks += _trial(bundle, try_model, runtime, threads)
    return Report(bundle, tuple(checks))


def _files(folder: Path) -> Iterator[Check]:
    for proof in prove_files(folder):
        yield Check(f"sha256 {proof.name}", proof.problem is None, proof.problem or "as stated")


def _starts(bundle: Bundle) -> Iterator[Check]:
    for variant, name in bundle.variants.items():
        try:
            check_start(Path(bundle.folder) / name)
        except ModelError as exc:
            yield Check(f"{variant} file", False, str(exc))


def _trial(bundle: Bundle, try_model: TryModel, runtime: str, threads: int) -> Iterator[Check]:
    folder = Path(bundle.folder).resolve()
    result = try_model(
        TrialRequest(
            model=str(folder / bundle.variants["cpu"]),
            runtime=runtime,
            threads=threads,
            labels=len(bundle.labels),
            activation=bundle.activation,
            specs=(bundle.input,),
            pictures=tuple(str(folder / golden.picture) for golden in bundle.goldens),
        )
    )
    network = result.network
    if network is None:
        yield Check("load", False, str(result.error))
        return
    yield Check(
        "load",
        True,
        f"{network.runtime} {network.version}, {network.nodes} nodes, "
        f"{network.delegated_nodes} of them by a delegate",
    )
    yield from _shapes(network)
    if not any(network.problems.values()):
        yield from _answers(bundle, result)
    if "edgetpu" in bundle.variants:
        path = folder / bundle.variants["edgetpu"]
        yield _edgetpu(path, result.file, try_model(TrialRequest(model=str(path), runtime=runtime)))


def _shapes(network: NetworkFacts) -> Iterator[Check]:
    for name, problem in network.problems.items():
        if problem is not None:
            yield Check(name, False, problem)
        elif name != "labels":
            [tensor] = network.inputs if name == "input" else network.outputs
            quantization = (
                f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
                if tensor.scale
                else ""
            )
            yield Check(name, True, f"{list(tensor.shape)} {tensor.dtype}{quantization}")
        else:
            yield Check(name, True, "one for each score")


def _answers(bundle: Bundle, result: TrialResult) -> Iterator[Check]:
    is_run = (0, -1) in result.answers
    detail = "an inference on plain grey" if is_run else str(result.error)
    yield Check("inference", is_run, detail)
    if not is_run:
        return
    for number, golden in enumerate(bundle.goldens):
        values = result.answers.get((0, number))
        if values is None:
            yield Check(f"golden {golden.picture}", False, str(result.error))
            return
        yield check_golden(bundle, golden, values)
    if not bundle.goldens:
        yield Check("golden pictures", True, "none: that it recognises anything is not proven")


def check_golden(bundle: Bundle, golden: Golden, values: NDArray[np.float32]) -> Check:
    """values: the scores of the golden picture, one for each label."""
    wanted = golden.label or golden.group or ""
    score = target_score(bundle, wanted if golden.label else "", golden.group or "", values)
    told = f"{wanted} {score:.2f}, want at least {golden.least_score:.2f}"
    is_ok = score >= golden.least_score
    seen = "" if is_ok else f"; seen: {what_is_seen(bundle, values)}"
    return Check(f"golden {golden.picture}", is_ok, told + seen)


def target_score(bundle: Bundle, label: str, group: str, values: NDArray[np.float32]) -> float:
    """Of the label where there is one, else of the group."""
    if label:
        return float(values[bundle.labels.index(label)])
    return Targets(bundle, (group,)).score(Scores(values, 0))[group]


def what_is_seen(bundle: Bundle, values: NDArray[np.float32]) -> str:
    """The best labels and the best group, for people."""
    scores = Scores(values, 0)
    ranked = [*best_labels(bundle, scores, 3), *best_groups(bundle, scores, 1)]
    return ", ".join(f"{each.name} {each.score:.2f}" for each in ranked)


def _edgetpu(path: Path, cpu: FileFacts | None, result: TrialResult) -> Check:
    """Cannot be run without the stick; what it was compiled for, and from, can be seen."""
    if result.file is None or cpu is None:
        return Check("edgetpu file", False, str(result.error))
    problem = edgetpu_problem(cpu, result.file)
    if problem is not None:
        return Check("edgetpu file", False, f"{path.name}: {problem}")
    return Check("edgetpu file", True, "compiled for an Edge TPU; not run here")


def edgetpu_problem(cpu: FileFacts, edgetpu: FileFacts) -> str | None:
    """Why `edgetpu` is not the CPU's model compiled; None where nothing speaks against it."""
    if EDGETPU_OPERATOR not in edgetpu.custom_operators:
        return "not compiled for an Edge TPU; want the edgetpu_compiler's output"
    if edgetpu.inputs == cpu.inputs and _sizes(edgetpu) == _sizes(cpu):
        return None
    return (
        f"another model than the CPU's: it {_told(edgetpu)}, the CPU's {_told(cpu)}; "
        "want the edgetpu_compiler's output for this very model"
    )


def _sizes(facts: FileFacts) -> list[int]:
    """How many numbers each output has."""
    return [math.prod(tensor.shape) for tensor in facts.outputs]


def _told(facts: FileFacts) -> str:
    taken = ", ".join(f"{list(tensor.shape)} {tensor.dtype}" for tensor in facts.inputs)
    given = ", ".join(str(size) for size in _sizes(facts))
    return f"takes {taken or 'nothing'} and gives {given or 'no'} scores"


def need_ok(report: Report) -> None:
    """Raises ModelError with every failed check."""
    failed = [f"{check.name}: {check.detail}" for check in report.checks if not check.is_ok]
    if failed:
        raise ModelError("\n".join(failed))


def first_error(result: TrialResult) -> LookoutError | None:
    """What ended the trial, or what its checks found."""
    if result.error is not None:
        return result.error
    problems = result.network.problems.values() if result.network is not None else ()
    found = [problem for problem in problems if problem is not None]
    return ModelError("\n".join(found)) if found else None
