"""Fusion: answers every reference time with what all living sensors see, as Detections."""

from pathlib import Path

import msgspec

from fusion_rt.calibration_file import load_calibration
from fusion_rt.fusion.options import FusionPlan
from fusion_rt.fusion.runner import open_fusion
from fusion_rt.node import start_program


def main() -> None:
    with start_program() as program:
        session = program.session
        plan = msgspec.convert(session.fusion, FusionPlan)
        calibration = load_calibration(Path(session.calibration or ""))
        with open_fusion(session, plan, calibration, program.clock, program.counters) as fusion:
            fusion.run(program.is_running)


if __name__ == "__main__":
    main()
