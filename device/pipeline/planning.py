"""Settings and bundles brought together: which region watches for what, with which thresholds."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches

from device.config import Config, RegionConfig
from device.core.bundle import Bundle
from device.core.toml_keys import KeyLines
from device.pipeline.look import RegionPlan
from device.settings_file import Mistake


def plan_regions(
    config: Config, bundle_of: Callable[[str], Bundle], lines: KeyLines
) -> tuple[list[tuple[RegionPlan, Bundle]], list[Mistake]]:
    """The plan and the bundle of each region, and every name that a bundle does not know.

    bundle_of: raises ModelError for a bundle that is not there.
    """
    plans = []
    mistakes: list[Mistake] = []
    for name, region in config.all_regions.items():
        bundle = bundle_of(region.bundle or config.inference.bundle)
        place = ("regions", name)
        watch = tuple(region.watch) if region.watch is not None else tuple(bundle.groups)
        for target in (*watch, *region.thresholds):
            if not bundle.knows(target):
                key = "watch" if target in watch else "thresholds"
                mistakes.append(
                    Mistake(
                        lines.line((*place, key)),
                        f"regions.{name}.{key}",
                        unknown(target, bundle),
                    )
                )
        plans.append((_plan(name, region, bundle, watch, config), bundle))
    mistakes += _check_rules(config, plans, lines)
    return plans, mistakes


def unknown(target: str, bundle: Bundle) -> str:
    """What to say of a name that is neither group nor label."""
    close = [
        each
        for names in (bundle.groups, bundle.labels)
        for each in get_close_matches(target, names, n=2, cutoff=0.6)
    ]
    hint = f"did you mean {' or '.join(chr(34) + each + chr(34) for each in close)}? " * bool(close)
    return (
        f'bundle {bundle.name} has no label or group "{target}"; {hint}'
        f"`lookout model show {bundle.name}` lists them"
    )


def _plan(
    name: str, region: RegionConfig, bundle: Bundle, watch: Sequence[str], config: Config
) -> RegionPlan:
    detection = region.detection or config.detection
    own = {target: each.value() for target, each in region.thresholds.items()}
    return RegionPlan(
        name=name,
        box=region.rectangle(),
        masks=region.mask_rectangles(),
        watch=tuple(watch),
        thresholds={target: own.get(target, bundle.thresholds_of(target)) for target in watch},
        patience=detection.patience(),
        gate=detection.gate_settings(),
    )


def _check_rules(
    config: Config, plans: Sequence[tuple[RegionPlan, Bundle]], lines: KeyLines
) -> list[Mistake]:
    """A rule about what no region of its own watches for would never fire: that must be heard."""
    mistakes = []
    for name, rule in config.rules.items():
        key = "seen" if rule.seen is not None else "absent"
        target = rule.seen or rule.absent or ""
        asked = [each for each in plans if not rule.regions or each[0].name in rule.regions]
        if asked and not any(target in plan.watch for plan, _ in asked):
            watched = sorted({each for plan, _ in asked for each in plan.watch})
            close = get_close_matches(target, watched, n=1, cutoff=0.6)
            hint = f'did you mean "{close[0]}"? ' if close else ""
            mistakes.append(
                Mistake(
                    lines.line(("rules", name, key)),
                    f"rules.{name}.{key}",
                    f'no region of this rule watches for "{target}"; {hint}'
                    f"watched: {', '.join(watched[:20])}{', ...' * (len(watched) > 20)}",
                )
            )
    return mistakes
