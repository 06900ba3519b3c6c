"""CURVE for everything that leaves the host: encryption, and a list of who may connect.

Keys lie in one directory: `NAME.key_secret` of this host (mode 0600), and under `allowed/` the
`.key` file of each host that may talk to it. CURVE without such a list encrypts but admits anybody.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import zmq
import zmq.auth

from fusion_rt.errors import KeyFileError
from fusion_rt.transport.zeromq import Context, Socket

ALLOWED = "allowed"
_DOMAIN = "fusion_rt"


class KeyPair(msgspec.Struct, frozen=True):
    """Z85 text of a CURVE key pair."""

    public: bytes
    secret: bytes


def create_keys(directory: Path, host: str) -> Path:
    """Make this host's keys in `directory`; returns the public file, to be copied to the others."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / ALLOWED).mkdir(exist_ok=True)
    if any(directory.glob("*.key_secret")):
        raise KeyFileError(str(directory), "holds a key pair already", "remove it first")
    public, secret = zmq.auth.create_certificates(directory, host)
    os.chmod(secret, 0o600)
    return Path(public)


def load_own_keys(directory: Path) -> KeyPair:
    """This host's key pair."""
    secrets = sorted(directory.glob("*.key_secret"))
    way_out = f"make one with `fusion-rt keys {directory}`"
    if len(secrets) != 1:
        problem = f"expected one *.key_secret file, got {len(secrets)}"
        raise KeyFileError(str(directory), problem, way_out)
    if secrets[0].stat().st_mode & 0o077:
        raise KeyFileError(str(secrets[0]), "others can read it", f"run chmod 600 {secrets[0]}")
    try:
        public, secret = zmq.auth.load_certificate(secrets[0])
    except (OSError, ValueError) as error:
        raise KeyFileError(str(secrets[0]), str(error), way_out) from error
    if secret is None:
        raise KeyFileError(str(secrets[0]), "expected a secret key, got a public one", way_out)
    return KeyPair(public, secret)


def load_public_key(path: Path) -> bytes:
    """The public key of another host."""
    try:
        return zmq.auth.load_certificate(path)[0]
    except (OSError, ValueError) as error:
        way_out = "copy the other host's .key file here"
        raise KeyFileError(str(path), str(error), way_out) from error


@contextlib.contextmanager
def guarded(context: Context, directory: Path) -> Iterator[None]:
    """Admit to this context's CURVE servers only the keys that lie under `allowed/` now."""
    allowed = directory / ALLOWED
    keys = sorted(allowed.glob("*.key"))
    if not keys:
        way_out = "copy there the .key file of each host that may connect"
        raise KeyFileError(str(allowed), "expected at least one .key file, got none", way_out)
    for key in keys:  # the authenticator would only log a damaged one
        load_public_key(key)
    # Imported here: it brings asyncio along, and few nodes listen to other hosts.
    from zmq.auth.thread import ThreadAuthenticator

    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    try:
        authenticator.configure_curve(domain=_DOMAIN, location=str(allowed))
        yield
    finally:
        authenticator.stop()


def be_server(socket: Socket, own: KeyPair) -> None:
    """Before bind: accept only encrypted connections that `guarded` admits."""
    socket.curve_publickey, socket.curve_secretkey = own.public, own.secret
    socket.curve_server = True
    socket.zap_domain = _DOMAIN.encode()
    socket.set(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without it, nobody guarding admits everybody


def be_client(socket: Socket, own: KeyPair, server_public: bytes) -> None:
    """Before connect: prove who we are, and insist on who the server is."""
    socket.curve_publickey, socket.curve_secretkey = own.public, own.secret
    socket.curve_serverkey = server_public
