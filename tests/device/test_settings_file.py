"""Settings files: what is wrong with them is told at once, with line, cure and nothing else."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from device.config import Config
from device.core.toml_keys import KeyLines
from device.errors import ConfigError, ExitCode
from device.settings_file import SettingsError, parse_config, read_config

LAMP = "[outputs.lamp]\npin = 17\n"


def mistakes_in(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "box.toml")
    assert caught.value.exit_code is ExitCode.BAD_CONFIG
    return str(caught.value).splitlines()


def test_an_empty_file_is_a_box_with_defaults() -> None:
    assert parse_config("", "box.toml") == Config()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[camera]\nsorce = "usb"', '2: camera.sorce: unknown key; did you mean "source"? keys'),
        ('[camra]\nsource = "usb"', '1: camra: unknown key; did you mean "camera"? keys here: dev'),
        ("[regions.a]\nbundel = 1", '2: regions.a.bundel: unknown key; did you mean "bundle"?'),
        ("[mqtt.tls]\ncafile = 1", '2: mqtt.tls.cafile: unknown key; did you mean "ca_file"?'),
        (
            "[regions.a.thresholds]\ncat = { low = 0.1, high = 0.2, hihg = 0.3 }",
            '2: regions.a.thresholds.cat.hihg: unknown key; did you mean "high"? keys here: low, h',
        ),
        (
            "[regions.a.detection]\nsmothing_s = 1",
            '2: regions.a.detection.smothing_s: unknown key; did you mean "smoothing_s"?',
        ),
        (
            '[camera]\nsource = "usbb"',
            '2: camera.source: got "usbb"; did you mean "usb"? allowed: picamera2, usb, rtsp, vid',
        ),
        ("[camera]\nrotation = 90", "2: camera.rotation: got 90; allowed: 0, 180"),
        ('[mqtt]\ndelivery = "both"', '2: mqtt.delivery: got "both"; allowed: receipts, broker'),
        ("[mqtt]\nport = 0", "2: mqtt.port: got 0; want a number from 1 to 65535"),
        (
            "[camera]\nframes_per_s = 0",
            "2: camera.frames_per_s: got 0; want a number above 0, at most 240",
        ),
        ("[outputs.lamp]\npin = 40", "2: outputs.lamp.pin: got 40; want a number from 0 to 27"),
        ("[outputs.lamp]\n", "1: outputs.lamp.pin: missing; this key is needed here"),
        (
            '[device]\nname = "my box"',
            '2: device.name: got "my box"; want text like "garden": letters, digits, - and _',
        ),
        (
            "[regions.Feeder]\n",
            '1: regions.Feeder: got "Feeder"; want text like "front-door": small letters',
        ),
        ("[regions.a]\nbox = [0, 0, 1]", "2: regions.a.box: got [0, 0, 1]; want 4 values"),
        ("[regions.a]\nbox = [0, 0, 1, 1, 1]", "2: regions.a.box: got 5 values; want 4"),
        ("[regions.a]\nbox = [0, 0, 1, 1.2]", "2: regions.a.box.3: got 1.2; want a number from 0"),
        (
            "[regions.a]\nbox = [0.5, 0, 0.2, 1]",
            "2: regions.a.box: want 0 <= top < bottom <= 1 and 0 <= left < right <= 1, got [0.5, ",
        ),
        (
            "[regions.a]\nbox = [0, 0, 1, 1]\nmasks = [\n  [0, 0, 0, 1],\n]",
            "3: regions.a.masks.0: want 0 <= top < bottom <= 1",
        ),
        (
            "[regions.a.thresholds]\ncat = { low = 0.5, high = 0.2 }",
            "2: regions.a.thresholds.cat: want low <= high, got 0.5 and 0.2",
        ),
        ('[camera]\nsource = "video"', '1: camera: source = "video" wants path = "..." beside it'),
        ('[camera]\nsource = "rtsp"', '1: camera: source = "rtsp" wants url = "..." beside it'),
        (
            '[camera]\nsource = "rtsp"\nurl = "http://192.168.1.20/stream1"',
            "3: camera.url: want an address that begins with rtsp:// or rtsps://, such as ",
        ),
        ('[camera]\nurl = "192.168.1.20"', "2: camera.url: want an address that begins with rtsp"),
        ('[camera]\nurl = ""', "2: camera.url: want an address that begins with rtsp"),
        ('[camera]\nurl = "rtsp:///stream1"', "2: camera.url: want the camera's name or address "),
        ('[camera]\nurl = "rtsp://cam:port/"', "2: camera.url: want the camera's name or address "),
        ('[camera]\nurl = "rtsp://[::1/"', "2: camera.url: want the camera's name or address "),
        (
            "[album]\nmax_bytes = 3",
            "2: album.max_bytes: got 3; want a number from 1_000_000 to 1_000_000_000_000_000",
        ),
        ('[gpio]\ndriver = "file"', '1: gpio: driver = "file" wants folder = "..." beside it'),
        ('[mqtt.tls]\ncert_file = "a"', "1: mqtt.tls: want cert_file and key_file together, or "),
        ('[mqtt]\nhost = ""', '2: mqtt.host: got ""; want text that is not empty'),
        ('[camera]\npath = ""', "2: camera.path: want a path"),
        ('[camera]\npath = "a\\u0000b"', "2: camera.path: want a path"),
        (
            LAMP + '[rules.x]\noutput = "lamp"',
            '3: rules.x: want either seen = "..." or absent = "...", and not both',
        ),
        (
            LAMP + '[rules.x]\noutput = "lamp"\nseen = "cat"\nabsent = "dog"',
            '3: rules.x: want either seen = "..." or absent = "...", and not both',
        ),
        (
            LAMP + '[rules.x]\noutput = "lamp"\nseen = "cat"\naction = "blnk"',
            '6: rules.x.action: got "blnk"; did you mean "blink"? allowed: on, off, pulse, blink',
        ),
        (
            LAMP + '[rules.x]\noutput = "lamp"\nseen = "cat"\nhours = "22-6"',
            '6: rules.x.hours: got "22-6"; want text like "22:00-06:00"',
        ),
        (
            LAMP + '[rules.x]\noutput = "lamp"\nseen = "cat"\nhours = "24:00-06:00"',
            '6: rules.x.hours: got "24:00-06:00"; want text like "22:00-06:00"',
        ),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_is_wanted(text: str, told: str) -> None:
    [line] = mistakes_in(text)
    assert line.startswith(f"box.toml:{told}")


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://owner:s3cret@192.168.1.20/stream1",
        "RTSPS://owner:s3cret@192.168.1.20:322/stream1",
        "rtsp://owner:s3/cr#et@192.168.1.20/stream1",
        "rtsp://owner:s3cret@[::1/",
        "rtsp://s3cret@192.168.1.20/stream1",
    ],
)
def test_a_password_inside_an_address_is_refused_and_not_repeated(url: str) -> None:
    [line] = mistakes_in(f'[camera]\nsource = "rtsp"\nurl = "{url}"')
    assert line.startswith("box.toml:3: camera.url: a user name or password stands in the address")
    assert 'username = "..." and password_file = "..." beside it' in line
    assert "s3" not in line
    assert "owner" not in line


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://192.168.1.20/stream1",
        "rtsps://camera.local:322/a?channel=1",
        "RTSP://[::1]:8554/x",
        "rtsp://camera",
        "rtsp://camera/a%40b",
    ],
)
def test_a_network_cameras_address_is_taken_as_it_stands(url: str) -> None:
    config = parse_config(f'[camera]\nsource = "rtsp"\nurl = "{url}"', "box.toml")
    assert config.camera.url == url


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[mqtt]\nport = "30"', 'got "30"; want a whole number from 1 to 65535'),
        ("[mqtt]\nport = true", "got true; want a whole number from 1 to 65535"),
        ("[mqtt]\nport = 1883.0", "got 1883.0; want a whole number from 1 to 65535"),
        ('[camera]\nstale_s = "5"', 'got "5"; want a number above 0, at most 100_000_000'),
        ("[camera]\nstale_s = true", "got true; want a number above 0, at most 100_000_000"),
        ("[camera]\nstale_s = inf", "got inf; want a finite number"),
        ("[camera]\nstale_s = nan", "got nan; want a finite number"),
        ("[album]\npictures = 1", "got 1; want true or false"),
        ('[album]\npictures = "yes"', 'got "yes"; want true or false'),
        ("[mqtt]\nhost = 1", 'got 1; want text in "quotes"'),
        ("[mqtt]\nhost = 2026-11-24", 'got "2026-11-24"; want text in "quotes"'),
        ("[device]\nstate_dir = 3", 'got 3; want a path in "quotes"'),
        ("regions = 3", "got 3; want a table, such as [section] with its keys below"),
        ("camera = 3", "got 3; want a table, such as [section] with its keys below"),
        ('[regions.a]\nwatch = "cat"', 'got "cat"; want a list in brackets'),
        ('[regions.a]\nbox = "all"', 'got "all"; want a list in brackets'),
    ],
)
def test_a_value_of_another_type_is_never_taken_for_the_right_one(text: str, told: str) -> None:
    [line] = mistakes_in(text)
    assert told in line


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            LAMP + '[rules.x]\noutput = "lmap"\nseen = "cat"',
            '4: rules.x.output: no output "lmap"; did you mean "lamp"? outputs: lamp',
        ),
        ('[rules.x]\noutput = "lamp"\nseen = "cat"', '2: rules.x.output: no output "lamp"; outpu'),
        (
            LAMP + '[regions.gate]\n[rules.x]\noutput = "lamp"\nseen = "cat"\nregions = ["gat"]',
            '7: rules.x.regions: no region "gat"; did you mean "gate"? regions: gate',
        ),
        (
            LAMP + '[rules.x]\noutput = "lamp"\nseen = "cat"\nregions = ["gate"]',
            '6: rules.x.regions: no region "gate"; regions: whole',
        ),
        (
            LAMP + "[buttons.door]\npin = 17",
            "4: buttons.door.pin: pin 17 is already that of outputs.lamp",
        ),
        (
            '[regions.a]\nwatch = ["cat"]\n[regions.a.thresholds]\ncta = { low = 0.1, high = 0.2 }',
            '4: regions.a.thresholds.cta: not watched here; did you mean "cat"? watched there: cat',
        ),
    ],
)
def test_names_that_another_section_must_define_are_looked_up(text: str, told: str) -> None:
    [line] = mistakes_in(text)
    assert line.startswith(f"box.toml:{told}")


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = """\
[device]
name = "my box"

[camera]
sorce = "usb"
rotation = 90

[outputs.lamp]
pin = "17"

[rules.greet]
output = "lmap"
seen = "cat"

[mqtt]
port = true
tls = { ca_fil = "a.pem" }
"""
    told = [line.split(": ")[:2] for line in mistakes_in(text)]
    assert told == [
        ["box.toml:2", "device.name"],
        ["box.toml:5", "camera.sorce"],
        ["box.toml:6", "camera.rotation"],
        ["box.toml:9", "outputs.lamp.pin"],
        ["box.toml:12", "rules.greet.output"],
        ["box.toml:16", "mqtt.port"],
        ["box.toml:17", "mqtt.tls.ca_fil"],
    ]


@pytest.mark.parametrize(
    ("wrong", "left"),
    [
        ('[camera]\nsorce = "usb"\nrotation = 180', "[camera]\nrotation = 180"),
        ("[regions.a]\nbox = [0, 0, 1]\nwatch = ['cat']", "[regions.a]\nwatch = ['cat']"),
        ("[regions.a]\nmasks = [[0, 0, 1, 1], [1, 0, 0, 1]]", "[regions.a]"),
        ("[outputs.lamp]\n[outputs.bell]\npin = 1", "[outputs.bell]\npin = 1"),
        ("[regions.Feeder]\n[regions.a]", "[regions.a]"),
        ("[regions.a.thresholds]\ncat = { low = 0.1 }", "[regions.a]"),
        ('[camera]\nsource = "video"\n[mqtt]\nhost = "b"', '[mqtt]\nhost = "b"'),
        ("regions = 3", ""),
        (LAMP + '[rules.x]\noutput = "lmap"\nseen = "cat"', None),
    ],
)
def test_what_is_not_wrong_is_left_for_further_checks(wrong: str, left: str | None) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_config(wrong, "box.toml")
    assert caught.value.rest is not None
    if left is not None:
        assert caught.value.rest == parse_config(left, "left.toml")


def test_an_output_that_is_wrong_in_itself_is_still_known_to_its_rules() -> None:
    [line] = mistakes_in('outputs.lamp = 3\n[rules.x]\noutput = "lamp"\nseen = "cat"')
    assert line.startswith("box.toml:1: outputs.lamp: got 3; want a table")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[camera\n", "box.toml:1: not TOML: "),
        ("[camera]\nsource =\n", "box.toml:2: not TOML: "),
        ("[camera]\n[camera]\n", "box.toml:2: not TOML: "),
        ('[camera]\nsource = "usb\n', "box.toml:2: not TOML: "),
        ("[camera]\nwatch = [", "box.toml:2: not TOML: "),
    ],
)
def test_what_is_not_toml_is_told_with_its_line(text: str, told: str) -> None:
    [line] = mistakes_in(text)
    assert line.startswith(told)
    assert line.endswith("docs/settings.md shows how settings are written")


def test_a_long_or_broken_value_stays_on_one_line() -> None:
    [line] = mistakes_in(f'[device]\nname = """\n{"x" * 300}\n[camera]\nsorce = 1\n"""')
    assert line.startswith('box.toml:2: device.name: got "xxx')
    assert len(line) < 200


def test_relative_paths_count_from_the_folder_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "box.toml"
    file.write_text(
        '[device]\nstate_dir = "state"\n'
        '[camera]\nsource = "video"\npath = "clips/a.mp4"\n'
        '[gpio]\nfolder = "/pins"\n'
        '[mqtt.tls]\nca_file = "ca.pem"\n'
        '[mqtt]\nhost = "relative"\n',
        encoding="utf-8",
    )
    config = read_config(file)
    assert config.device.state_dir == tmp_path / "state"
    assert config.camera.path == tmp_path / "clips/a.mp4"
    assert config.gpio.folder == Path("/pins")
    assert config.mqtt.tls is not None
    assert config.mqtt.tls.ca_file == tmp_path / "ca.pem"
    assert config.mqtt.host == "relative"


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "box.toml"
    file.write_bytes(b'\xef\xbb\xbf[device]\r\nname = "garden"\r\n')
    assert read_config(file).device.name == "garden"


def test_a_file_that_cannot_be_read_is_told_with_what_is_wanted(tmp_path: Path) -> None:
    not_utf8 = tmp_path / "latin.toml"
    not_utf8.write_bytes(b'[device]\nname = "gr\xfcn"\n')
    for path, told in [
        (tmp_path / "absent.toml", "no such file; name the settings file with --config FILE"),
        (tmp_path, "a folder; want a settings file (TOML)"),
        (not_utf8, "not UTF-8 at byte 19; want a TOML file"),
        (not_utf8 / "below.toml", "cannot be read: Not a directory"),
    ]:
        with pytest.raises(ConfigError) as caught:
            read_config(path)
        assert str(caught.value).startswith(f"{path}: {told}")


@pytest.mark.parametrize(
    ("text", "location", "line"),
    [
        ("a = 1\n[b]\nc = 2", ("b", "c"), 3),
        ("[b]\n# c = 1\n  c = 2", ("b", "c"), 3),
        ("[b] # [x]\nc = 2", ("b", "c"), 2),
        ('[b]\nx = """\nc = 1\n[d]\n"""\nc = 2', ("b", "c"), 6),
        ("[b]\nx = '''\nc = 1'''\nc = 2", ("b", "c"), 4),
        ('[b]\nx = """a\\"""\nc = 1\n"""\nc = 2', ("b", "c"), 5),
        ('[b]\nx = """a""""\nc = 2', ("b", "c"), 3),
        ("[b]\nx = [\n  [1, 2], # ]\n  3,\n]\nc = 2", ("b", "c"), 6),
        ('[b]\nx = ["c = 1", "]"]\nc = 2', ("b", "c"), 3),
        ("b = { x = { y = [1, { z = 2 }] }, c = 3 }", ("b", "c"), 1),
        ("b = { x = { y = 1, c = 3 } }\n[d]\nc = 1", ("b", "x", "c"), 1),
        ("b = {}\n[d]\nc = 1", ("d", "c"), 3),
        ('["b.c"."d#"]\n"e = f" = 1', ("b.c", "d#", "e = f"), 2),
        ("['b'.c]\nd = 1", ("b", "c", "d"), 2),
        ('[b]\n"\\u0063" = 1', ("b", "c"), 2),
        ("[b]\nc . d = 1\nc.e = 2", ("b", "c", "e"), 3),
        ("b.c.d = 1\nb.c.e = 2", ("b", "c", "e"), 2),
        ("[b]\nx = 1979-05-27T07:32:00Z\ny = -1.5e-3\nc = true", ("b", "c"), 4),
        ("[[b]]\nc = 1\n[[b]]\nd = 2", ("b", "d"), 4),
    ],
)
def test_a_key_is_found_however_it_is_written(
    text: str, location: tuple[str, ...], line: int
) -> None:
    assert KeyLines(text).line(location) == line


def test_a_missing_key_is_placed_at_the_nearest_table_around_it() -> None:
    lines = KeyLines("\n[regions.a]\nbox = 1\n[regions.b.thresholds]\ncat = { low = 1 }\n")
    assert lines.line(("regions", "a", "watch")) == 2
    assert lines.line(("regions",)) == 2
    assert lines.line(("regions", "b")) == 4
    assert lines.line(("regions", "b", "thresholds", "cat", "high")) == 5
    assert lines.line(("regions", "a", "box", 3)) == 3
    assert lines.line(("mqtt", "port")) == 1


@settings(deadline=None)
@example('"\\1"')
@given(st.text(st.sampled_from("ab[]{}=,.\n\"'# \\1")))
def test_any_text_is_settings_or_a_config_error(text: str) -> None:
    assert KeyLines(text).line(("a", "b")) >= 0
    try:
        parse_config(text, "box.toml")
    except ConfigError as exc:
        assert all(line.startswith("box.toml:") for line in str(exc).splitlines())  # noqa: PT017 - any other error fails the test


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = " + "[" * 5000 + "]" * 5000, "too deep"),
        ("a = " + "{a=" * 3000 + "1" + "}" * 3000, "too deep"),
        ("a = " + "[" * 40 + "]" * 40, "more than 16 deep"),
        (".".join(["a"] * 3000) + " = 1", "deep"),
        ("[mqtt]\nport = " + "9" * 5000, "thousands of digits"),
        ("[mqtt]\nport = 0x" + "f" * 9000, "more than 64 bits"),
        ('[device]\nstate_dir = "~nosuchuser/x"', "~nosuchuser is nobody here"),
        ('[camera]\npath = "~nosuchuser"', "~nosuchuser is nobody here"),
    ],
)
def test_what_only_a_machine_would_write_is_a_config_error(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "box.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        read_config(path)
    with pytest.raises(ConfigError, match=told):
        parse_config(text, "box.toml")
