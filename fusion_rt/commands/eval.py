"""`fusion-rt eval`: what a model finds on held-out scenes, from every set of sensors."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fusion_rt.clock import NS_PER_S, RigClock
from fusion_rt.engine.open import Backend
from fusion_rt.model_file import find_model
from fusion_rt.sim.beams import Beams

if TYPE_CHECKING:
    from fusion_rt.evaluation.evaluate import Evaluation
    from fusion_rt.evaluation.result import Result
    from fusion_rt.evaluation.scenes import ScenePlan

SHIPPED = "reference"


def register(app: typer.Typer) -> None:
    app.command("eval")(eval_command)


def eval_command(
    model: Annotated[
        str, typer.Option(help="Model directory, or name of a shipped one.")
    ] = SHIPPED,
    scenes: Annotated[int, typer.Option(min=1, help="Worlds of 5 moments each.")] = 60,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="Of the first world; training has others.")
    ] = 500_000,
    subsets: Annotated[
        list[str] | None, typer.Option(help="camera+lidar ...; several allowed. All without.")
    ] = None,
    corruptions: Annotated[
        bool, typer.Option("--corruptions", help="Also with 14 things wrong: 3 times as long.")
    ] = False,
    varied: Annotated[
        bool, typer.Option("--varied", help="Another rig per world, sensors free-running.")
    ] = False,
    beams: Annotated[Beams, typer.Option(help="The LiDAR's, unless varied.")] = "hdl64",
    data: Annotated[
        Path | None, typer.Option(help="A folder of moments instead of simulated worlds.")
    ] = None,
    backend: Annotated[str, typer.Option(help="What runs the graphs.")] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(help="int8: of the graphs that have it. bf16: all, with --backend openvino."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write all figures here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures here.")] = None,
    card: Annotated[
        Path | None, typer.Option(help="Write the tables into this Markdown page.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--from", help="Take a --json of before; measure nothing.")
    ] = None,
) -> None:
    """Measure a model on scenes it was not trained on. Needs the extra `sim`.

    The table shows mAP at 2 m between centres (docs/evaluate.md says exactly how).
    """
    from fusion_rt.evaluation.corruptions import CORRUPTIONS
    from fusion_rt.evaluation.result import read_result
    from fusion_rt.evaluation.scenes import ScenePlan

    if figures is not None:
        result, pictures = read_result(figures), []
    else:
        worse = CORRUPTIONS if corruptions else ()
        plan = ScenePlan(
            scenes=scenes, seed=seed, is_varied=varied, beams=beams, corruptions=worse, folder=data
        )
        evaluation = _evaluation(find_model(model), plan, subsets, backend, precision)
        result, pictures = evaluation.result(_data_text(plan), _today()), evaluation.pictures()
    _write(result, pictures, json, html, card)
    _show(result)


def _write(
    result: "Result",
    pictures: list[tuple[bytes, str]],
    json: Path | None,
    html: Path | None,
    card: Path | None,
) -> None:
    """What was asked for as files."""
    from fusion_rt.evaluation.page import Shot, html_page
    from fusion_rt.evaluation.result import write_result
    from fusion_rt.evaluation.tables import write_card

    if json is not None:
        write_result(result, json)
    if html is not None:
        html.write_text(html_page(result, [Shot(*picture) for picture in pictures]))
    if card is not None:
        write_card(result, card)


def _evaluation(
    folder: Path, plan: "ScenePlan", subsets: list[str] | None, backend: str, precision: str | None
) -> "Evaluation":
    from fusion_rt.evaluation.evaluate import evaluate
    from fusion_rt.evaluation.scenes import demo_calibration, scenes
    from fusion_rt.evaluation.subsets import named_subsets
    from fusion_rt.perception import Mounts, open_model

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        open_model(folder, Mounts(), _known(backend), precision=precision) as perception,
        Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress,
    ):
        wanted = named_subsets(subsets, perception.model.file.kinds) if subsets else None
        task = progress.add_task("moments", total=plan.count)
        shown = scenes(plan, demo_calibration())
        return evaluate(perception, shown, wanted, lambda: progress.advance(task))


def _known(backend: str) -> Backend:
    return backend  # type: ignore[return-value]  # open_engine refuses others with all names


def _data_text(plan: "ScenePlan") -> str:
    if plan.folder is not None:
        return f"from {plan.folder.name}"
    rigs = "a rig of its own each" if plan.is_varied else f"the rig `demo` with a {plan.beams}"
    return f"simulated worlds {plan.seed} to {plan.seed + plan.scenes - 1}, {rigs}"


def _today() -> str:
    now_ns = RigClock.starting_now().now_ns()
    return (
        datetime.datetime.fromtimestamp(now_ns / NS_PER_S, datetime.timezone.utc).date().isoformat()
    )


def _show(result: "Result") -> None:
    from rich.table import Table as Shown

    from fusion_rt.evaluation.tables import figure, measured_text

    console = Console()
    table = Shown("sensors", "mAP 2 m", *result.classes, "siren recall")
    table.columns[0].no_wrap = True
    for name, score in result.subsets.items():
        per_class = [figure(score.classes[each].ap["2"]) for each in result.classes]
        recall = figure(score.siren.recall) if score.siren else "-"
        table.add_row(name, figure(score.map_2m), *per_class, recall)
    console.print(measured_text(result), markup=False, highlight=False)
    console.print(table)
