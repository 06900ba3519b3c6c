"""The few things we ask of ZeroMQ sockets beside sending and receiving."""

import contextlib
from typing import TypeAlias, cast

import zmq

Socket: TypeAlias = "zmq.Socket[bytes]"
Context: TypeAlias = "zmq.Context[zmq.Socket[bytes]]"

_RECONNECT_MS = 30
_HEARTBEAT_MS = 500
_SILENCE_MS = 1500


def opened(kind: int, context: Context, stack: contextlib.ExitStack) -> Socket:
    """A socket that the stack closes, dropping what is unsent: ending must not wait for a peer."""
    socket = context.socket(kind)
    stack.callback(socket.close, linger=0)
    return socket


def has_message(socket: Socket) -> bool:
    """Whether a receive would return at once; cheaper than zmq.Poller for one socket."""
    return bool(cast(int, socket.get(zmq.EVENTS)) & zmq.POLLIN)


def reconnect_quickly(connecting: Socket) -> None:
    """Before connect: try at a steady pace, without back-off, so that a return is seen."""
    connecting.set(zmq.RECONNECT_IVL, _RECONNECT_MS)
    connecting.set(zmq.RECONNECT_IVL_MAX, 0)


def notice_silence(socket: Socket) -> None:
    """Before bind or connect: a tcp peer that vanished without a word is dropped, and tried again.

    A pulled cable or lost power closes no connection, and a subscriber sends nothing by itself.
    """
    socket.set(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
    socket.set(zmq.HEARTBEAT_TIMEOUT, _SILENCE_MS)
