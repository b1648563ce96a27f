"""`lookout-cloud provision`: topics and subscriptions on a project of Google Cloud."""

import argparse
import json
import os
import shutil
from dataclasses import asdict, is_dataclass
from pathlib import Path

from cloud_bridge import assembly
from cloud_bridge.commands.options import whole_number
from cloud_bridge.commands.screen import say
from cloud_bridge.commands.trust_options import Subparsers, checked
from cloud_bridge.errors import ConfigError, ExitCode
from cloud_bridge.provision.bigquery import run_sql, table_sql, view_sql
from cloud_bridge.provision.carrying_out import carry_out, compare, remove
from cloud_bridge.provision.plan import KEEP_DAYS, PREFIX, Difference, Plan, Table, make_plan
from cloud_bridge.provision.requests import as_text, subscription_message, topic_message
from cloud_bridge.settings_file import read_config
from cloud_bridge.trust.names import check_registry


def add_to(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "provision",
        help="make topics and subscriptions on a project of Google Cloud, or check them",
        description=(
            "Makes topics, subscriptions that never expire, a dead-letter topic and, with "
            "--bigquery, the long memory. What is there already is mended where an update can; "
            "may be repeated. PUBSUB_EMULATOR_HOST=HOST:PORT leads to a local Pub/Sub."
        ),
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--project", help="of Google Cloud")
    where.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="settings of a bridge or a hub, which name the project and where its Pub/Sub is",
    )
    parser.add_argument(
        "--registry",
        type=checked(check_registry),
        action="append",
        default=[],
        help="a subscription of the downlink for this group of boxes alone; may be repeated "
        "(default: one for all)",
    )
    parser.add_argument(
        "--prefix", default=PREFIX, help="what every name begins with (default: %(default)s)"
    )
    parser.add_argument(
        "--keep-days",
        type=whole_number(1, 31, "days, 1 to 31"),
        metavar="N",
        help=f"how long a message waits for its reader, 1 to 31 (default: {KEEP_DAYS}, or what the "
        "settings of a hub say)",
    )
    parser.add_argument(
        "--bigquery",
        metavar="DATASET",
        help="write every event to a table of this dataset, with a view without repeats",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--dry-run", action="store_true", help="print every call and the SQL; ask nobody"
    )
    what.add_argument(
        "--check", action="store_true", help="change nothing; name what is not as wanted"
    )
    what.add_argument(
        "--remove",
        action="store_true",
        help="delete those topics and subscriptions, and what waits in them; wants --yes",
    )
    parser.add_argument("--yes", action="store_true", help="with --remove: really")
    parser.add_argument("--json", action="store_true", help="print JSON: one object a line")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    project, address, keep_days = arguments.project, None, KEEP_DAYS
    if arguments.config is not None:
        config = read_config(arguments.config)
        project, address = config.pubsub.project, config.pubsub_address
        keep_days = KEEP_DAYS if config.hub is None else config.hub.keep_days
    plan = make_plan(
        project,
        prefix=arguments.prefix,
        registries=arguments.registry,
        dataset=arguments.bigquery,
        keep_days=keep_days if arguments.keep_days is None else arguments.keep_days,
    )
    if arguments.dry_run:
        return _print_calls(plan, as_json=arguments.json)
    if arguments.remove and not arguments.yes:
        raise ConfigError(
            f"--remove would delete {_count(plan)} of {project} that begin with "
            f"{arguments.prefix}-, and what waits in them; want --yes too, if that is meant"
        )
    if arguments.remove:
        return _remove(plan, address, as_json=arguments.json)
    if arguments.check:
        return _check(plan, address, as_json=arguments.json)
    return _make(plan, address, as_json=arguments.json)


def _print_calls(plan: Plan, *, as_json: bool) -> int:
    calls = [
        *(("CreateTopic", topic_message(each)) for each in plan.topics),
        *(("CreateSubscription", subscription_message(each)) for each in plan.subscriptions),
    ]
    statements = [] if plan.table is None else [table_sql(plan.table), view_sql(plan.table)]
    if as_json:
        for call, request in calls:
            say(json.dumps({"call": call, "request": json.loads(as_text(request))}))
        for text in statements:
            say(json.dumps({"sql": text}))
        return ExitCode.OK
    for call, request in calls:
        say(f"{call} {as_text(request)}")
    for text in statements:
        say(f"\n{text}")
    return ExitCode.OK


def _remove(plan: Plan, address: str | None, *, as_json: bool) -> int:
    with assembly.make_admin(address) as admin:
        for name, was_there in remove(plan, admin):
            did = "removed" if was_there else "not there"
            say(json.dumps({"resource": name, "did": did}) if as_json else f"{did}: {name}")
    if plan.table is not None and not as_json:
        say(f"left: the dataset {plan.table.dataset} of BigQuery with its table and its view")
    return ExitCode.OK


def _check(plan: Plan, address: str | None, *, as_json: bool) -> int:
    with assembly.make_admin(address) as admin:
        found = compare(plan, admin)
    for each in found:
        say(json.dumps(_as_json(each)) if as_json else _words(each))
    if not found and not as_json:
        say(f"{plan.project}: {_count(plan)} as wanted")
    if plan.table is not None and not as_json:
        say(
            "not checked: whether the view is there, and who may write dead letters "
            "(docs/google-cloud.md)"
        )
    return ExitCode.FAILED if found else ExitCode.OK


def _make(plan: Plan, address: str | None, *, as_json: bool) -> int:
    is_local = address is not None or "PUBSUB_EMULATOR_HOST" in os.environ
    if plan.table is not None and not is_local:
        _run_sql(plan.table, as_json=as_json)
    is_complete = True
    with assembly.make_admin(address) as admin:
        for step in carry_out(plan, admin):
            if as_json:
                left = [_as_json(each) for each in step.left]
                say(json.dumps({"resource": step.resource, "did": step.did, "left": left}))
            else:
                say(f"{step.did}: {step.resource}")
                for each in step.mended:
                    say(f"  {each.field}: {each.found} became {each.wanted}")
                for each in step.left:
                    say(f"  {_words(each)}")
            is_complete = is_complete and not step.left
    return ExitCode.OK if is_complete else ExitCode.FAILED


def _run_sql(table: Table, *, as_json: bool) -> None:
    """With Google's `bq`, or by the person. Raises ConfigError."""
    program = shutil.which("bq")
    if program is None:
        text = f"{table_sql(table)}\n{view_sql(table)}"
        if as_json:
            say(json.dumps({"sql": text, "did": "left"}))
        else:
            say(f"`bq` is not on this machine; run this in BigQuery's console first:\n\n{text}")
        return
    run_sql(program, table)
    if as_json:
        say(json.dumps({"resource": table.view_name, "did": "made", "left": []}))
    else:
        say(f"made: {table.raw_name} and {table.view_name}")


def _words(difference: Difference) -> str:
    name, field = difference.resource, difference.field
    short = name.split("/")[-1]
    if field is None:
        return f"{name}: missing; `lookout-cloud provision` makes it"
    found = f"{name}: {field} is {difference.found}, wanted {difference.wanted}"
    if difference.can_mend:
        return f"{found}; `lookout-cloud provision` mends it"
    if field == "trouble":
        return (
            f"{name}: it cannot write its table: {difference.found}; want the table, and "
            "roles/bigquery.dataEditor on it for Pub/Sub's own service account"
        )
    kind = "topics" if "/topics/" in name else "subscriptions"
    if field == "schema":
        return f"{found}; `gcloud pubsub topics update {short} --clear-schema-settings` mends it"
    return (
        f"{found}; nothing changes that: `gcloud pubsub {kind} delete {short}` (what waits in it "
        "is lost), then `lookout-cloud provision` makes it anew"
    )


def _as_json(difference: Difference) -> dict[str, object]:
    wanted = difference.wanted
    return {
        "resource": difference.resource,
        "field": difference.field,
        "found": difference.found,
        "wanted": asdict(wanted)
        if is_dataclass(wanted) and not isinstance(wanted, type)
        else wanted,
        "mend": "provision" if difference.can_mend else "by hand",
    }


def _count(plan: Plan) -> str:
    return f"{len(plan.topics)} topics and {len(plan.subscriptions)} subscriptions"
