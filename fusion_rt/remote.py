"""The part of a rig file on other hosts: topics offered over tcp, and topics had from there.

Everything that leaves the host is encrypted and authenticated with CURVE, also on loopback.
"""

import os
import re
from pathlib import Path
from typing import Annotated

import msgspec

from fusion_rt.config import Problems, shown
from fusion_rt.errors import TopicError
from fusion_rt.topics import topic_kind

_ADDRESS = re.compile(
    r"tcp://(?P<host>\*|[\w.-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})", re.ASCII
)


class RemoteFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a rig file may say under `remote`."""

    keys: Annotated[
        str,
        msgspec.Meta(
            description="directory of CURVE keys, relative to the rig file: tcp is always encrypted"
        ),
    ]
    listen: Annotated[
        dict[str, str], msgspec.Meta(description="topics offered: topic -> tcp://INTERFACE:PORT")
    ] = {}
    topics: Annotated[
        dict[str, str], msgspec.Meta(description="topics had from others: topic -> tcp://HOST:PORT")
    ] = {}


class RemoteTopic(msgspec.Struct, frozen=True):
    """Where a topic of another host is had."""

    address: str
    server_key: Path
    """The other host's public key: `allowed/HOST.key` in the key directory."""


class Remote(msgspec.Struct, frozen=True, kw_only=True):
    """What goes to and comes from other hosts; paths are resolved."""

    keys: Path
    listen: dict[str, str]
    topics: dict[str, RemoteTopic]


def remote_from_file(written: RemoteFile, beside: Path, problems: Problems) -> Remote:
    """Resolve paths against the rig's directory; what is wrong goes to `problems`."""
    keys = beside / written.keys
    if not os.path.isdir(keys):
        problem = f"expected a directory of CURVE keys, found none at {keys}"
        problems.add(("remote", "keys"), problem, f"make one with `fusion-rt keys {keys}`")
    listen = {
        topic: address
        for topic, address in written.listen.items()
        if _address_host(("remote", "listen", topic), address, problems)
    }
    _check_ports(listen, problems)
    topics = {
        topic: RemoteTopic(address, keys / "allowed" / f"{host}.key")
        for topic, address in written.topics.items()
        if (host := _address_host(("remote", "topics", topic), address, problems))
    }
    for topic, remote in topics.items():
        if os.path.isdir(keys) and not os.path.isfile(remote.server_key):
            problem = f"expected the other host's public key, found none at {remote.server_key}"
            problems.add(("remote", "topics", topic), problem, "copy its .key file there")
    return Remote(keys=keys, listen=listen, topics=topics)


def _address_host(place: tuple[str, str, str], address: str, problems: Problems) -> str | None:
    """The host of an address that is right, for a topic that is."""
    try:
        topic_kind(place[-1])
    except TopicError as error:
        problems.add(place, error.problem)
        return None
    found = _ADDRESS.fullmatch(address)
    is_source = place[1] == "topics"
    if found is None or not 0 < int(found["port"]) < 65_536 or (is_source and found["host"] == "*"):
        example = "for example tcp://10.0.0.2:7601"
        problems.add(place, f"expected tcp://HOST:PORT, got {shown(address)}", example)
        return None
    return found["host"].strip("[]")


def _check_ports(listen: dict[str, str], problems: Problems) -> None:
    taken: dict[str, str] = {}
    for topic, address in listen.items():
        if address in taken:
            problem = f"expected an address of its own, got that of {taken[address]}"
            problems.add(("remote", "listen", topic), problem, "choose another port")
        taken[address] = topic
