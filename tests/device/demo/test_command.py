"""What the demo chooses, before it starts anything."""

import tomllib
from pathlib import Path

import pytest

from device.demo.command import choose_far_end
from device.demo.settings import LOCAL_PROJECT, FarEnd, Scene
from device.errors import ConfigError
from device.main import parser
from device.settings_file import parse_config

KEY = {"GOOGLE_APPLICATION_CREDENTIALS": "/etc/lookout/google.json"}
ENVIRONMENT = {**KEY, "GOOGLE_CLOUD_PROJECT": "my-project-123"}


@pytest.mark.parametrize(
    ("words", "environment", "has_cloud", "chosen"),
    [
        ([], {}, True, (FarEnd.LOCAL, LOCAL_PROJECT)),
        ([], ENVIRONMENT, True, (FarEnd.GOOGLE, "my-project-123")),
        # A project alone is what many machines have set for other programs.
        ([], {"GOOGLE_CLOUD_PROJECT": "my-project-123"}, True, (FarEnd.LOCAL, LOCAL_PROJECT)),
        ([], KEY, True, (FarEnd.LOCAL, LOCAL_PROJECT)),
        (["--project", "other-project"], ENVIRONMENT, True, (FarEnd.GOOGLE, "other-project")),
        (["--project", "other-project"], {}, True, (FarEnd.GOOGLE, "other-project")),
        (["--local"], ENVIRONMENT, True, (FarEnd.LOCAL, LOCAL_PROJECT)),
        (["--no-cloud"], ENVIRONMENT, True, (FarEnd.BROKER, LOCAL_PROJECT)),
        ([], {}, False, (FarEnd.BROKER, LOCAL_PROJECT)),
        ([], ENVIRONMENT, False, (FarEnd.BROKER, LOCAL_PROJECT)),
    ],
)
def test_the_far_end_is_chosen_by_words_then_by_the_environment(
    words: list[str], environment: dict[str, str], has_cloud: bool, chosen: tuple[FarEnd, str]
) -> None:
    arguments = parser("demo").parse_args(["demo", *words])
    assert choose_far_end(arguments, environment, has_cloud=has_cloud) == chosen


def test_a_project_that_is_asked_for_wants_the_cloud_side() -> None:
    arguments = parser("demo").parse_args(["demo", "--project", "other-project"])
    with pytest.raises(ConfigError, match=r"want pip install 'lookout-appliance\[cloud\]'"):
        choose_far_end(arguments, {}, has_cloud=False)


@pytest.mark.parametrize("project", ["", "BAD_NAME!", "a", 'x"\naddress = "127.0.0.1:1'])
def test_a_project_that_is_none_is_refused_before_anything_starts(project: str) -> None:
    arguments = parser("demo").parse_args(["demo", "--project", project])
    with pytest.raises(ConfigError, match="want a project id like my-project-123"):
        choose_far_end(arguments, {}, has_cloud=True)


@pytest.mark.parametrize("far_end", FarEnd)
def test_its_settings_are_good(far_end: FarEnd) -> None:
    scene = Scene(
        folder=Path("/nowhere"), far_end=far_end, broker_port=1883, pubsub_address="127.0.0.1:1"
    )
    config = parse_config(scene.box_settings(), "the demo's")
    assert config.mqtt.delivery == ("broker" if far_end is FarEnd.BROKER else "receipts")
    bridge = tomllib.loads(scene.bridge_settings())
    assert bridge["registries"] == [config.device.registry]
    assert bridge["pubsub"]["address"] == "127.0.0.1:1"
