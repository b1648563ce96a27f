"""The SQL of the long memory: a table that Pub/Sub writes to, and a view without repeats.

Data and attributes are kept as text: a JSON column would refuse a row, and the table is the place
where nothing is refused. Source of the columns: Pub/Sub, "BigQuery subscriptions", write metadata.
"""

import subprocess

from cloud_bridge.errors import ConfigError
from cloud_bridge.provision.plan import Table

TIMEOUT_S = 300.0


def table_sql(table: Table) -> str:
    """Makes dataset and table where there are none; again is no harm."""
    return f"""\
CREATE SCHEMA IF NOT EXISTS `{table.project}.{table.dataset}`;

CREATE TABLE IF NOT EXISTS `{table.raw_name}` (
  subscription_name STRING,
  message_id STRING,
  publish_time TIMESTAMP,
  data STRING,
  attributes STRING
)
PARTITION BY DATE(publish_time)
OPTIONS (description = 'Lookout events as they came, repeats among them; read {table.view}.');
"""


def view_sql(table: Table) -> str:
    """Each event once: the first of its repeats, by the sender's and the event's ids."""
    return f"""\
CREATE OR REPLACE VIEW `{table.view_name}` AS
SELECT
  JSON_VALUE(attributes, '$."ce-id"') AS event_id,
  JSON_VALUE(attributes, '$.deviceRegistryId') AS registry,
  JSON_VALUE(attributes, '$.deviceId') AS device,
  JSON_VALUE(attributes, '$.subFolder') AS kind,
  JSON_VALUE(attributes, '$."ce-type"') AS type,
  JSON_VALUE(attributes, '$."ce-time"') AS event_time,
  JSON_VALUE(data, '$.run') AS run,
  CAST(JSON_VALUE(data, '$.seq') AS INT64) AS seq,
  publish_time,
  data,
  attributes
FROM `{table.raw_name}`
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (
  PARTITION BY
    JSON_VALUE(attributes, '$."ce-source"'),
    COALESCE(JSON_VALUE(attributes, '$."ce-id"'), message_id)
  ORDER BY publish_time, message_id
) = 1;
"""  # noqa: S608 - `make_plan` lets no quote into a name


def run_sql(program: str, table: Table) -> None:
    """Run all statements with Google's `bq`: its Python library would be 40 MB for these three.

    Raises:
        ConfigError: it refuses, or does not answer.
    """
    try:
        ended = subprocess.run(
            [program, "query", "--quiet", "--nouse_legacy_sql", f"--project_id={table.project}"],
            input=f"{table_sql(table)}\n{view_sql(table)}",
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ConfigError(
            f"{program} has not answered ({exc}); want it to work: try `bq ls`, or run the SQL of "
            "--dry-run in BigQuery's console"
        ) from exc
    if ended.returncode != 0:
        said = (ended.stderr or ended.stdout).strip()
        raise ConfigError(
            f"{program} refuses the SQL: {said[-500:]}; want roles/bigquery.user and "
            "roles/bigquery.dataEditor for whoever runs this, or the SQL of --dry-run run by hand"
        )
