"""Draws the pictures of docs/evaluate.md: python docs/draw_evaluation.py [MODEL]"""

import sys
from itertools import islice
from pathlib import Path

from fusion_rt.evaluation.asked import Asker
from fusion_rt.evaluation.picture import answer_picture, jpeg_of, truth_picture
from fusion_rt.evaluation.scenes import ScenePlan, demo_calibration, scenes
from fusion_rt.model_file import find_model
from fusion_rt.perception import Mounts, open_model

FOLDER = Path(__file__).parent / "evaluate"
WORLD, MOMENT = 500_049, 2
"""By day, with a siren, road users of most classes."""


def main() -> None:
    plan = ScenePlan(scenes=1, seed=WORLD)
    (shown,) = islice(scenes(plan, demo_calibration()), MOMENT, MOMENT + 1)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "labels.jpg").write_bytes(jpeg_of(truth_picture(shown.moment)))
    model = find_model(sys.argv[1] if len(sys.argv) > 1 else "reference")
    with open_model(model, Mounts()) as perception:
        asker, file = Asker(perception), perception.model.file
        answer = asker.answer(shown.moment, asker.encode(shown.moment), file.kinds)
        picture = answer_picture(shown.moment, answer, file, file.thresholds.normal)
    (FOLDER / "shares.jpg").write_bytes(jpeg_of(picture))


if __name__ == "__main__":
    main()
