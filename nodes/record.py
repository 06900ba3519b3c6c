"""Recorder: writes what the rig sends to log files, from a process of its own."""

import msgspec

from fusion_rt.logs.options import RecordOptions
from fusion_rt.logs.recorder import record_session
from fusion_rt.node import start_program


def main() -> None:
    with start_program() as program:
        options = msgspec.convert(program.session.record, RecordOptions)
        record_session(program.session, options, program.is_running, program.counters)


if __name__ == "__main__":
    main()
