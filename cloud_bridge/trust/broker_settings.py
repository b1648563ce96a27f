"""mosquitto's settings and access rules for registries of boxes.

Of one registry a rule speaks of every box by the name in its certificate, so a new box needs no
new rules. Where the authority knows boxes of several, such a rule would let a box write under its
own name in a foreign registry: there each box has rules of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from device.wire.names import Topics

SETTINGS, RULES, REVOKED, LIMITS = "lookout.conf", "acl", "crl.pem", "lookout.nft"

MAX_PACKET_BYTES = 131_072
"""A larger packet ends the connection: twice the largest event or command, so that only a stranger
meets it. `message_size_limit` is no gentler: mosquitto answers it with a PUBACK reason (149) that
MQTT 5 does not allow there, and paho hangs up."""
WINDOW = 2000
"""Messages under way each way of one client; a box is told so as Receive Maximum."""

_EVERY_BOX = "%u"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registries:
    """Who is let in. devices: registry -> names, of all boxes that hold a certificate, also of
    registries that are not let in.

    bridges: names, each of one process.
    """

    names: Sequence[str]
    bridges: Sequence[str]
    devices: Mapping[str, Sequence[str]]

    @property
    def are_alone(self) -> bool:
        """One registry, and nobody else has a box with a certificate: its rules go by pattern."""
        return len(self.names) == 1 and set(self.devices) <= set(self.names)


def access_rules(registries: Registries) -> str:
    """The text of mosquitto's `acl_file`."""
    lines = [
        "# Made by `lookout-cloud broker settings`. Whoever is not named here may do nothing.",
        "# The name in a certificate is its holder's user name.",
    ]
    if registries.are_alone:
        [registry] = registries.names
        lines += ["", f"# Every box of {registry}, by its name."]
        lines += _device_rules(Topics(registry, _EVERY_BOX), "pattern")
    for bridge in registries.bridges:
        lines += ["", f"user {bridge}"]
        # The rule for every box would take the bridge for one.
        lines += [f"topic deny {Topics(each, bridge).root}/#" for each in registries.names]
        for registry in registries.names:
            lines += _bridge_rules(Topics(registry, "+"))
    if not registries.are_alone:
        for registry in registries.names:
            for device in sorted(registries.devices.get(registry, ())):
                lines += ["", f"user {device}"]
                lines += _device_rules(Topics(registry, device), "topic")
    return "\n".join(lines) + "\n"


def _device_rules(topics: Topics, keyword: str) -> list[str]:
    return [
        f"{keyword} write {topics.events('#')}",
        f"{keyword} write {topics.state}",
        f"{keyword} write {topics.availability}",
        f"{keyword} read {topics.receipts}",
        f"{keyword} read {topics.config}",
        f"{keyword} read {topics.commands('#')}",
    ]


def _bridge_rules(topics: Topics) -> list[str]:
    return [
        f"topic read {topics.events('#')}",
        f"topic read {topics.state}",
        f"topic read {topics.availability}",
        f"topic write {topics.receipts}",
        f"topic write {topics.config}",
        f"topic write {topics.commands('#')}",
    ]


def mosquitto_settings(installed_in: PurePosixPath, port: int, max_connections: int) -> str:
    """The text of a file for `/etc/mosquitto/conf.d/`; installed_in: where its other files lie."""
    return f"""\
# Made by `lookout-cloud broker settings`. For mosquitto 2.0, beside Debian's own mosquitto.conf,
# which says where the queue and the log lie.

listener {port}
cafile {installed_in / "ca.crt"}
certfile {installed_in / "broker.crt"}
keyfile {installed_in / "broker.key"}
crlfile {installed_in / REVOKED}
tls_version tlsv1.2

# The certificate is the login: its name is user name and client id, whatever the client says.
require_certificate true
use_identity_as_username true
use_username_as_clientid true
max_connections {max_connections}

allow_anonymous false
allow_zero_length_clientid false
acl_file {installed_in / RULES}
# What stays retained from one who has lost the right to write it is not handed out.
check_retain_source true

# A larger packet ends the connection; boxes bound their events at birth.
max_packet_size {MAX_PACKET_BYTES}
max_keepalive 120

# What waits for a bridge that is away. More than this is dropped, and acknowledged all the same:
# without a receipt the box sends it again.
max_inflight_messages {WINDOW}
max_queued_messages 20000
max_queued_bytes 67108864
memory_limit 268435456
persistent_client_expiration 14d
persistence true
autosave_interval 60
set_tcp_nodelay true
"""


def rate_limits(port: int) -> str:
    """The text of an nftables file: mosquitto itself limits no rates."""
    return f"""\
# Made by `lookout-cloud broker settings`. Load with `nft -f`, or include it in /etc/nftables.conf.
# Of one address: 20 connections at once, 60 new ones a minute, a megabyte a second. What is above
# is dropped; TCP slows down by itself, and nothing is lost.
table inet lookout
delete table inet lookout
table inet lookout {{
  set open_v4 {{ type ipv4_addr; size 65535; flags dynamic; }}
  set open_v6 {{ type ipv6_addr; size 65535; flags dynamic; }}
  set new_v4 {{ type ipv4_addr; size 65535; flags dynamic; timeout 5m; }}
  set new_v6 {{ type ipv6_addr; size 65535; flags dynamic; timeout 5m; }}
  set bytes_v4 {{ type ipv4_addr; size 65535; flags dynamic; timeout 5m; }}
  set bytes_v6 {{ type ipv6_addr; size 65535; flags dynamic; timeout 5m; }}
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname "lo" return
    meta l4proto != tcp return
    tcp dport != {port} return
    ct state new add @open_v4 {{ ip saddr ct count over 20 }} drop
    ct state new add @open_v6 {{ ip6 saddr ct count over 20 }} drop
    ct state new update @new_v4 {{ ip saddr limit rate over 60/minute burst 60 packets }} drop
    ct state new update @new_v6 {{ ip6 saddr limit rate over 60/minute burst 60 packets }} drop
    update @bytes_v4 {{ ip saddr limit rate over 1 mbytes/second burst 4 mbytes }} drop
    update @bytes_v6 {{ ip6 saddr limit rate over 1 mbytes/second burst 4 mbytes }} drop
  }}
}}
"""
