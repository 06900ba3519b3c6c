"""Foxglove: shows what the rig sends to the Foxglove app, from a process of its own."""

import msgspec

from fusion_rt.logs.foxglove_server import serve_session
from fusion_rt.logs.options import FoxgloveOptions
from fusion_rt.node import start_program


def main() -> None:
    with start_program() as program:
        options = msgspec.convert(program.session.foxglove, FoxgloveOptions)
        serve_session(program.session, options, program.is_running, program.counters)


if __name__ == "__main__":
    main()
