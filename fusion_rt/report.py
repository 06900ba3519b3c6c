"""A run's latency as one HTML page that needs nothing else: pictures, tables, blame."""

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

from fusion_rt.clock import NS_PER_S
from fusion_rt.latency import pictures
from fusion_rt.latency.critical_path import quantities
from fusion_rt.latency.rows import STAGES, AnswerRow, FrameRow
from fusion_rt.latency.summary import Percentiles, Run, Summary, measure, summarise

WORST = 10
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 900px; margin: 2em auto;
       padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; font-size: 14px; }
th, td { padding: 3px 12px 3px 0; text-align: right; border-bottom: 1px solid #e3e6ea; }
th:first-child, td:first-child { text-align: left; }
svg { max-width: 100%; height: auto; } .bad { color: #c1121f; font-weight: bold; }
.note { color: #666; font-size: 14px; }
"""


def report_page(run: Run) -> str:
    """The whole page."""
    summary = summarise(run)
    answers = run.measured
    whole, _ = measure(answers)
    usual_ns = pictures.usual_stages(answers)
    parts = [
        _head(summary),
        _section("Budgets", _verdicts(summary)),
        _section(
            "Answers", _whole_table(summary), pictures.percentile_curves(whole, run.info.budgets)
        ),
        _section("Stages", _NOTE_STAGES, _stage_table(summary)),
        _section(
            "One usual answer",
            "<p>Its age, from reference time to sending, is the median. Dots are stamps.</p>",
            pictures.timeline(_median(answers)),
        ),
        _section(
            f"The {min(WORST, len(answers))} worst",
            "<p>By age; from the stamp of the member that was ready last, and whom to blame.</p>",
            pictures.waterfall(_worst(answers), usual_ns),
        ),
        _section("Over time", pictures.run_over_time(answers, run.notes), _alarms(run)),
        _section("Every input frame", *_frames(run.frames)),
    ]
    title = f"latency of {summary.rig}"
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{escape(title)}"
        f"</title><style>{STYLE}</style></head><body>\n{''.join(parts)}</body></html>\n"
    )


_NOTE_STAGES = """<p class='note'>sensor: stamp to sending. transport: to receipt. queue: to its
lane's beginning. encode: preprocessing and encoder. sync: waiting for the others. dispatch: for the
fusion to begin. fuse: network, decoding, tracking. publish: to sending. They sum to the time from
stamp to publishing, for every member of every answer.</p>"""


def _head(summary: Summary) -> str:
    facts = [
        f"{summary.answers} answers in {summary.seconds:.1f} s ({summary.answers_hz:.2f} Hz), "
        f"{100 * summary.complete:.1f} % with every stream",
        f"after a warm-up of {summary.warm_up_s:g} s" if summary.warm_up_s else "",
        f"model {summary.model}" if summary.model else "",
        summary.machine,
    ]
    words = ". ".join(escape(fact) for fact in facts if fact)
    return f"<h1>Latency of {escape(summary.rig)}</h1><p>{words}.</p>\n"


def _section(title: str, *contents: str) -> str:
    return f"<h2>{escape(title)}</h2>\n" + "\n".join(contents) + "\n"


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are text, or HTML where they begin with a tag."""

    def cell(text: str) -> str:
        return f"<td>{text if text.startswith('<span') else escape(text)}</td>"

    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join(f"<tr>{''.join(cell(text) for text in row)}</tr>\n" for row in rows)
    return f"<table><tr>{heads}</tr>\n{lines}</table>"


def _verdicts(summary: Summary) -> str:
    if not summary.verdicts:
        return "<p class='note'>The rig states none.</p>"
    rows = []
    for one in summary.verdicts:
        value = _ms(one.value_ms)
        shown = f"<span class='bad'>{value}</span>" if one.is_broken else value
        rows.append((one.budget, f"p{one.percent:g}", _ms(one.limit_ms), shown, str(one.n)))
    return html_table(("budget", "percentile", "limit ms", "measured ms", "n"), rows)


_PERCENT_HEAD = ("n", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms")


def _percent_cells(one: Percentiles) -> tuple[str, ...]:
    values = (one.p50_ms, one.p90_ms, one.p99_ms, one.p999_ms, one.max_ms)
    return (str(one.n), *(_ms(value) for value in values))


def _whole_table(summary: Summary) -> str:
    rows = [(name, *_percent_cells(one)) for name, one in summary.whole.items()]
    return html_table(("time", *_PERCENT_HEAD), rows)


def _stage_table(summary: Summary) -> str:
    def order(name: str) -> tuple[str, int]:
        stage, _, topic = name.partition(" ")
        return topic, STAGES.index(stage)

    names = sorted(summary.stages, key=order)
    rows = [(_turned(name), *_percent_cells(summary.stages[name])) for name in names]
    return html_table(("stage", *_PERCENT_HEAD), rows)


def _turned(name: str) -> str:
    stage, _, topic = name.partition(" ")
    return f"{topic} {stage}"


def _alarms(run: Run) -> str:
    if not run.alarms:
        return "<p class='note'>No alarm was raised.</p>"
    start_ns = run.answers[0].published_ns
    rows = [(f"{(a.at_ns - start_ns) / NS_PER_S:.2f} s", a.text) for a in run.alarms]
    return html_table(("at", "alarm"), rows)


def _frames(frames: Sequence[FrameRow]) -> tuple[str, str]:
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for row in frames:
        counts[row.topic, row.outcome, row.place, row.cause] += row.count
    rows = [(*key, str(count)) for key, count in sorted(counts.items())]
    head = ("topic", "outcome", "where", "cause", "frames")
    return pictures.outcomes(frames), html_table(head, rows)


def _age(answer: AnswerRow) -> int:
    return quantities(answer)["answer_age"]


def _median(answers: Sequence[AnswerRow]) -> AnswerRow:
    return sorted(answers, key=_age)[len(answers) // 2]


def _worst(answers: Sequence[AnswerRow]) -> list[AnswerRow]:
    return sorted(answers, key=_age, reverse=True)[:WORST]


def _ms(value: float | None) -> str:
    return "too few" if value is None else f"{value:.2f}"
