"""The bridge's settings: every mistake with its line, at once."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_bridge.errors import ConfigError, ExitCode
from cloud_bridge.local_pubsub.server import MAX_BYTES
from cloud_bridge.settings_file import parse_config, read_config

LEAST = 'registries = ["home"]\n[pubsub]\nproject = "some-project"\n'


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "bridge.toml")
    assert caught.value.exit_code is ExitCode.BAD_CONFIG
    return str(caught.value).splitlines()


def test_a_registry_and_a_project_are_enough() -> None:
    config = parse_config(LEAST, "bridge.toml")
    assert config.registries == ["home"]
    assert config.pubsub.topic(config.pubsub.events_topic) == (
        "projects/some-project/topics/lookout-events"
    )
    assert config.mqtt.port_number == 1883
    assert config.state_dir == Path("/var/lib/lookout-bridge")


def test_tls_changes_the_port() -> None:
    assert parse_config(LEAST + "[mqtt.tls]\n", "").mqtt.port_number == 8883
    assert parse_config(LEAST + "[mqtt]\nport = 1\n[mqtt.tls]\n", "").mqtt.port_number == 1


def test_every_mistake_is_told_at_once_with_its_line() -> None:
    text = """registries = ["home", "9"]

[mqtt]
hots = "localhost"
window = "2000"
keepalive_s = 1

[mqtt.tls]
cert_file = "a.pem"

[pubsub]
batch_ms = true
events_topic = "x"

[elsewhere]
"""
    assert mistakes(text) == [
        'bridge.toml:1: registries.1: got "9"; want text like "garden": letters, digits, - and _, '
        "a letter first",
        'bridge.toml:4: mqtt.hots: unknown key; did you mean "host"? keys here: host, port, '
        "client_id, username, password_file, keepalive_s, session_s, window, tls",
        'bridge.toml:5: mqtt.window: got "2000"; input should be a valid integer',
        "bridge.toml:6: mqtt.keepalive_s: got 1; input should be greater than or equal to 5",
        "bridge.toml:8: mqtt.tls: want cert_file and key_file both, or neither",
        "bridge.toml:11: pubsub.project: missing; this key is needed here",
        "bridge.toml:12: pubsub.batch_ms: got true; input should be a valid integer",
        'bridge.toml:13: pubsub.events_topic: got "x"; want text like "lookout-events": 3 letters '
        "or more, a letter first",
        "bridge.toml:15: elsewhere: unknown key; keys here: registries, location, state_dir, "
        "queue_bytes, receipts_ms, mqtt, pubsub, dead_letters, hub",
    ]


def test_a_registry_named_twice_is_a_mistake() -> None:
    [line] = mistakes(LEAST.replace('"home"', '"home", "home"'))
    assert "twice" in line


def test_what_is_no_toml_is_told_with_its_line() -> None:
    [line] = mistakes("registries = [\n")
    assert line.startswith("bridge.toml:")
    assert "not TOML" in line


def test_relative_paths_count_from_the_files_folder(tmp_path: Path) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text(
        'state_dir = "state"\n' + LEAST + '[mqtt.tls]\nca_file = "ca.pem"\n', encoding="utf-8"
    )
    config = read_config(path)
    assert config.state_dir == tmp_path / "state"
    assert config.mqtt.tls is not None
    assert config.mqtt.tls.ca_file == tmp_path / "ca.pem"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_bytes(b"\xff")
    for path in (tmp_path / "absent.toml", tmp_path, broken):
        with pytest.raises(ConfigError, match=path.name):
            read_config(path)


def test_a_hub_needs_an_empty_table() -> None:
    config = parse_config("[hub]\n", "hub.toml")
    assert config.hub is not None
    assert config.registries == ["home"]
    assert config.state_dir == Path("/var/lib/lookout-hub/bridge")
    assert config.pubsub.project == "lookout-hub"
    assert config.pubsub.downlink_subscription == "lookout-downlink-bridge"
    assert config.pubsub_address == "127.0.0.1:8085"
    assert config.hub.is_loopback
    assert config.hub.max_bytes == MAX_BYTES


def test_a_hub_keeps_everything_in_its_data_folder_beside_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "hub.toml"
    path.write_text('registries = ["a", "b"]\n[hub]\ndata_dir = "data"\nport = 9\n')
    config = read_config(path)
    assert config.hub is not None
    assert config.hub.data_dir == tmp_path / "data"
    assert config.state_dir == tmp_path / "data" / "bridge"
    assert config.registries == ["a", "b"]
    assert config.pubsub_address == "127.0.0.1:9"


@pytest.mark.parametrize(
    ("host", "is_loopback", "address"),
    [
        ("localhost", True, "localhost:8085"),
        ("127.0.0.2", True, "127.0.0.2:8085"),
        ("[::1]", True, "[::1]:8085"),
        ("0.0.0.0", False, "127.0.0.1:8085"),  # noqa: S104
        ("[::]", False, "[::1]:8085"),
        ("192.168.1.5", False, "192.168.1.5:8085"),
    ],
)
def test_programs_of_the_machine_find_the_hubs_pubsub(
    host: str, is_loopback: bool, address: str
) -> None:
    config = parse_config(f'[hub]\nhost = "{host}"\n', "hub.toml")
    assert config.hub is not None
    assert (config.hub.is_loopback, config.pubsub_address) == (is_loopback, address)


def test_a_hub_shares_its_pubsub_with_no_other() -> None:
    text = '[hub]\n[pubsub]\nproject = "my-project"\naddress = "a:1"\nevents_topic = "lookout-x"\n'
    assert mistakes(text) == [
        "bridge.toml:4: pubsub.address: found beside [hub], which has a Pub/Sub of its own; want "
        "this key left out",
        "bridge.toml:5: pubsub.events_topic: found beside [hub], which has a Pub/Sub of its own; "
        "want this key left out",
    ]


def test_mistakes_of_a_hub_are_told_like_others() -> None:
    assert mistakes("hub = 1\n") == [
        "bridge.toml:1: hub: got 1; input should be a valid dictionary or instance of HubConfig",
        "bridge.toml:1: pubsub: missing; this key is needed here",
        "bridge.toml:1: registries: missing; this key is needed here",
    ]
    assert mistakes('[hub]\ndata_dir = 1\nprot = 2\n[pubsub]\naddress = "nowhere"\n') == [
        "bridge.toml:2: hub.data_dir: got 1; input is not a valid path for <class 'pathlib.Path'>",
        'bridge.toml:3: hub.prot: unknown key; did you mean "port"? keys here: data_dir, host, '
        "port, max_bytes, keep_days",
        'bridge.toml:5: pubsub.address: got "nowhere"; want HOST:PORT, such as "127.0.0.1:8085"',
    ]


def test_a_bridge_may_name_a_local_pubsub() -> None:
    config = parse_config(LEAST + 'address = "10.0.0.1:8085"\n', "bridge.toml")
    assert config.pubsub_address == "10.0.0.1:8085"


HOSTILE = {
    "a whole number of thousands of digits": "[mqtt]\nport = " + "9" * 5000,
    "deep lists": LEAST + "[x]\ny = " + "[" * 3000 + "]" * 3000,
    "deep tables": LEAST + "[" + "a." * 1500 + "b]\n",
    "somebody who is nobody here": 'state_dir = "~nobody-here/x"\n' + LEAST,
    "a path with NUL": 'state_dir = "a\\u0000b"\n' + LEAST,
    "numbers that are none": "[mqtt]\nport = nan\nkeepalive_s = inf\n",
    "dates": "registries = [2026-01-01, 07:32:00]\n[pubsub]\nproject = 2026-01-01T00:00:00Z\n",
    "a newline at the end of a name": 'registries = ["home\\n"]\n[pubsub]\nproject = "a-bcde\\n"\n',
    "a wildcard": 'registries = ["+"]\n[pubsub]\nproject = "some-project"\n',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_in_words(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "bridge.toml", tmp_path)
    assert len(str(caught.value)) < 2000


VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec="utf-8"), max_size=20).map(json.dumps)
    | st.sampled_from(['"home"', '"some-project"', '"a.crt"', "1883", "2026-01-01"]),
    lambda inner: st.lists(inner, max_size=3).map(lambda found: f"[{', '.join(map(str, found))}]"),
    max_leaves=4,
).map(lambda value: str(value).lower() if isinstance(value, bool) else str(value))
KEYS = st.sampled_from(
    [
        *("registries", "state_dir", "queue_bytes", "mqtt", "host", "port", "tls", "ca_file"),
        *("cert_file", "pubsub", "project", "events_topic", "batch_ms", "mqtt.tls.key_file"),
    ]
)
LINES = st.tuples(KEYS, VALUES).map(" = ".join) | KEYS.map(lambda key: f"[{key}]")


@given(st.text(max_size=100) | st.lists(LINES, max_size=6).map("\n".join))
def test_any_text_is_settings_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        parse_config(text, "bridge.toml", Path("/nowhere"))
    with suppress(ConfigError):
        parse_config(f"{LEAST}{text}", "bridge.toml", Path("/nowhere"))
