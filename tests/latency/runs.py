"""A drive that never was: rows of a rig of four with a LiDAR lost for a while, and hiccups."""

import numpy as np

from fusion_rt.clock import NS_PER_MS
from fusion_rt.latency.budgets import Budget, LatencyOptions, budgets_in_ms
from fusion_rt.latency.ledger import AnswerTimes, Ledger
from fusion_rt.latency.rows import NoteRow, RunInfo
from fusion_rt.latency.summary import run_of
from tests.latency.samples import START_NS, Header, ms

RATES_HZ = {"camera/front": 30.0, "lidar/top": 10.0, "audio/array": 50.0, "gps/main": 10.0}
ENCODE_MS = {"camera/front": 14.0, "lidar/top": 22.0, "audio/array": 4.0, "gps/main": 0.1}
BUDGETS = {
    "end_to_end": Budget(p50_ms=120, p99_ms=160),
    "reaction": Budget(p99_ms=45),
    "encode lidar/top": Budget(p99_ms=30),
}
LOST_S = (10.0, 15.0)


def make_run(seconds=30.0, warm_up_s=0.0, budgets=BUDGETS, slower=1.0):
    """As a run that was read; `slower` stretches what is computed."""
    rows = []
    options = LatencyOptions(budgets=budgets, misses=3)
    tolerances = {topic: round(0.6e9 / rate) for topic, rate in RATES_HZ.items()}
    ledger = Ledger(tolerances, options, sink=rows.append)
    ledger.note(
        NoteRow(
            at_ns=ms(LOST_S[0] * 1000),
            end_ns=ms(LOST_S[1] * 1000),
            subject="lidar/top",
            kind="fault",
            text="drop",
        )
    )
    drive = _Drive(ledger, slower)
    for number in range(round(seconds * 10)):
        drive.step(number)
    ledger.close(ms(seconds * 1000))
    info = RunInfo(
        rig="made_up",
        started_ns=START_NS,
        topics=tuple(RATES_HZ),
        rates_hz=RATES_HZ,
        budgets=budgets_in_ms(budgets),
        machine="none",
    )
    return run_of(info, rows, warm_up_s)


class _Drive:
    def __init__(self, ledger, slower):
        self.ledger, self.slower = ledger, slower
        self.rng = np.random.default_rng(0)
        self.seq = dict.fromkeys(RATES_HZ, 0)
        self.lost = 0

    def step(self, number):
        """100 ms: the frames that came, and the answer for the reference at their end."""
        reference_ms = 100.0 * (number + 1)
        is_lost = LOST_S[0] * 1000 <= reference_ms < LOST_S[1] * 1000
        members = {}
        for topic, rate_hz in RATES_HZ.items():
            if topic == "lidar/top" and is_lost:
                continue
            frames = self.arrive(topic, rate_hz, reference_ms)
            if topic == "camera/front" and number % 40 == 7:
                self.ledger.dropped(
                    frames.pop(0), "failed", "encode", at_ns=ms(reference_ms), cause="bad jpeg"
                )
            members[topic] = frames[-1:] if topic != "audio/array" else frames
        if number % 25 == 3:
            self.lost += 2
            self.ledger.count_inbox("camera/front", {"lost": self.lost}, ms(reference_ms))
        self.answer(reference_ms, members, is_lost)

    def arrive(self, topic, rate_hz, reference_ms):
        frames = []
        count = round(rate_hz / 10)
        for index in range(count):
            stamp_ms = reference_ms - (count - 1 - index) * 1000 / rate_hz
            sent_ns = ms(stamp_ms + 8 + self.rng.exponential(1.5))
            recv_ns = sent_ns + round(self.rng.exponential(0.3) * NS_PER_MS)
            frame = self.ledger.arrived(
                Header(topic, self.seq[topic], ms(stamp_ms), sent_ns), recv_ns
            )
            self.seq[topic] += 1
            frame.taken_ns = recv_ns + round(self.rng.exponential(0.5) * NS_PER_MS)
            encode_ms = ENCODE_MS[topic] * self.slower * (1 + self.rng.exponential(0.08))
            frame.ready_ns = frame.taken_ns + round(encode_ms * NS_PER_MS)
            frames.append(frame)
        return frames

    def answer(self, reference_ms, members, is_lost):
        last_ns = max(frame.recv_ns for frames in members.values() for frame in frames)
        ready_ns = max(frame.ready_ns for frames in members.values() for frame in frames)
        started_ns = ready_ns + NS_PER_MS // 5
        fused_ns = started_ns + round(self.slower * (9 + self.rng.exponential(1)) * NS_PER_MS)
        times = AnswerTimes(
            reference_ns=ms(reference_ms),
            opened_ns=min(f.recv_ns for frames in members.values() for f in frames[-1:]),
            closed_ns=last_ns,
            started_ns=started_ns,
            fused_ns=fused_ns,
            published_ns=fused_ns + NS_PER_MS // 3,
            waited_for="lidar/top",
            mode="MINIMAL" if is_lost else "NORMAL",
            boxes=7,
        )
        self.ledger.answered(times, members, {"lidar/top": "silent"} if is_lost else {})
