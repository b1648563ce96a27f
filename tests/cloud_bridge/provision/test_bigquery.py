"""The SQL, read by a parser of BigQuery's dialect and run, translated, on SQLite."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlglot
from sqlglot import expressions

from cloud_bridge.errors import ConfigError
from cloud_bridge.provision.bigquery import run_sql, table_sql, view_sql
from cloud_bridge.provision.plan import Table

TABLE = Table(project="some-project", dataset="lake")


def row(
    number: int, event_id: str | None, device: str = "garden", seq: int = 1
) -> tuple[str, str, str, str, str]:
    """As Pub/Sub writes it: subscription_name, message_id, publish_time, data, attributes."""
    attributes = {
        "deviceId": device,
        "deviceRegistryId": "home",
        "subFolder": "detection",
        "ce-source": f"/home/devices/{device}",
        "ce-type": "lookout.detection.began",
        "ce-time": "2026-11-24T12:00:00Z",
    }
    if event_id is not None:
        attributes["ce-id"] = event_id
    data = {"run": "1-0000000a", "seq": seq, "label": "bird"}
    time = f"2026-11-24T12:00:{number:02d}Z"
    return ("s", str(number), time, json.dumps(data), json.dumps(attributes))


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE TABLE events_raw (subscription_name, message_id, publish_time, data, attributes)"
    )
    yield connection
    connection.close()


def view(database: sqlite3.Connection) -> list[dict[str, object]]:
    [create] = sqlglot.parse(view_sql(TABLE), read="bigquery")
    assert isinstance(create, expressions.Create)
    for table in create.find_all(expressions.Table):
        table.set("db", None)
        table.set("catalog", None)
    create.set("replace", False)
    database.execute(create.sql(dialect="sqlite"))
    found = database.execute("SELECT * FROM events ORDER BY device, seq")
    names = [column[0] for column in found.description]
    return [dict(zip(names, each, strict=True)) for each in found]


def insert(database: sqlite3.Connection, *rows: tuple[str, str, str, str, str]) -> None:
    database.executemany("INSERT INTO events_raw VALUES (?, ?, ?, ?, ?)", rows)


def test_bigquerys_dialect_has_every_statement() -> None:
    statements = sqlglot.parse(f"{table_sql(TABLE)}\n{view_sql(TABLE)}", read="bigquery")
    assert [type(each) for each in statements] == [expressions.Create] * 3
    kinds = [each.args["kind"] for each in statements if each is not None]
    assert kinds == ["SCHEMA", "TABLE", "VIEW"]


def test_repeats_are_dropped_and_the_first_stays(database: sqlite3.Connection) -> None:
    first = "garden:1-0000000a:1"
    insert(
        database,
        row(3, first),
        row(1, first),
        row(2, "garden:1-0000000a:2", seq=2),
        row(4, first),
    )
    found = view(database)
    assert [(each["event_id"], each["publish_time"]) for each in found] == [
        (first, "2026-11-24T12:00:01Z"),
        ("garden:1-0000000a:2", "2026-11-24T12:00:02Z"),
    ]


def test_two_senders_with_one_id_are_two_events(database: sqlite3.Connection) -> None:
    insert(database, row(1, "x", "garden"), row(2, "x", "shed"))
    assert [each["device"] for each in view(database)] == ["garden", "shed"]


def test_what_has_no_id_is_not_taken_for_a_repeat(database: sqlite3.Connection) -> None:
    insert(database, row(1, None), row(2, None))
    assert len(view(database)) == 2


def test_the_view_has_what_people_ask_for(database: sqlite3.Connection) -> None:
    insert(database, row(1, "garden:1-0000000a:7", seq=7))
    [found] = view(database)
    assert {key: found[key] for key in ("registry", "device", "kind", "type", "run", "seq")} == {
        "registry": "home",
        "device": "garden",
        "kind": "detection",
        "type": "lookout.detection.began",
        "run": "1-0000000a",
        "seq": 7,
    }


def program(folder: Path, script: str) -> str:
    """What stands in for Google's `bq`."""
    path = folder / "bq"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_bq_is_given_every_statement(tmp_path: Path) -> None:
    bq = program(tmp_path, f'echo "$@" > {tmp_path}/words; cat > {tmp_path}/sql')
    run_sql(bq, TABLE)
    assert (tmp_path / "sql").read_text() == f"{table_sql(TABLE)}\n{view_sql(TABLE)}"
    words = (tmp_path / "words").read_text()
    assert words == "query --quiet --nouse_legacy_sql --project_id=some-project\n"


def test_what_bq_refuses_is_told(tmp_path: Path) -> None:
    bq = program(tmp_path, "cat > /dev/null; echo 'Access Denied: Dataset lake' >&2; exit 1")
    with pytest.raises(ConfigError, match="Access Denied: Dataset lake; want roles/bigquery"):
        run_sql(bq, TABLE)


def test_a_bq_that_does_not_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="want it to work"):
        run_sql(str(tmp_path / "none"), TABLE)
