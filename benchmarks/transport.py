"""Compare fusion_rt's transport with others on this machine: latency, throughput, CPU, loss.

    python benchmarks/transport.py --quick              every transport installed, under 3 minutes
    python benchmarks/transport.py --rounds 3           what the README quotes
    python benchmarks/transport.py --list               what is installed, and what to install
    python benchmarks/transport.py --only floor,fusion_rt_loan --scenarios camera_1 --seconds 10

docs/benchmarks.md says what is measured and how to read the table.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from transport_bench.claims import judge
from transport_bench.machine import describe_machine
from transport_bench.peer import Peer
from transport_bench.registry import PEERS
from transport_bench.results import Results
from transport_bench.run import RunError, run_once
from transport_bench.streams import SCENARIOS, Scenario
from transport_bench.table import print_claims, print_results

_QUICK_SCENARIOS = "camera_1,small,mix_3,slow"
_QUICK_SECONDS = 1.5
_OVERHEAD_S = 1.2  # of a run, beside settling and measuring: starting and stopping its processes


def main() -> int:
    arguments = _parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as on Ctrl-C
    if arguments.list:
        return _list_peers()
    peers = [PEERS[name] for name in _names(arguments.only, PEERS) if not PEERS[name].missing()]
    scenarios = [SCENARIOS[name] for name in _names(arguments.scenarios, SCENARIOS)]
    results = Results(describe_machine())
    try:
        _measure(results, peers, scenarios, arguments)
    except KeyboardInterrupt:
        print("interrupted: what was measured until then follows", file=sys.stderr)
        return_code = 130
    else:
        return_code = 0
    print_results(results)
    print_claims(judge(results))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results.as_json(), indent=1) + "\n")
    return return_code


def _parse(line: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="one short round, fewer scenarios")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default 3)")
    parser.add_argument("--seconds", type=float, default=5.0, help="measured per run (default 5)")
    parser.add_argument("--only", help="transports, comma-separated (default: all installed)")
    parser.add_argument("--scenarios", help="comma-separated (default: all)")
    parser.add_argument("--json", metavar="FILE", help="write every round's numbers there")
    parser.add_argument("--list", action="store_true", help="what is installed, and what is not")
    arguments = parser.parse_args(line)
    if arguments.quick:
        arguments.rounds, arguments.seconds = 1, _QUICK_SECONDS
        arguments.scenarios = arguments.scenarios or _QUICK_SCENARIOS
    return arguments


def _names(listed: str | None, known: Mapping[str, object]) -> list[str]:
    names = listed.split(",") if listed else list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return names


def _list_peers() -> int:
    for name, peer in PEERS.items():
        print(f"{name:16} {peer.missing() or 'installed'}")
    for scenario in SCENARIOS.values():
        print(f"  scenario {scenario.name:12} {scenario.title}")
    return 0


def _measure(
    results: Results,
    peers: list[type[Peer]],
    scenarios: list[Scenario],
    arguments: argparse.Namespace,
) -> None:
    """Rounds outermost, transports innermost: a change of the machine's mood meets all alike."""
    warm_up_s = 0.5
    total = arguments.rounds * len(scenarios) * len(peers)
    run_s = sum(p.settle_s + warm_up_s + arguments.seconds + _OVERHEAD_S for p in peers)
    minutes = arguments.rounds * len(scenarios) * run_s / 60
    print(f"{total} runs, about {minutes:.0f} minutes; Ctrl-C stops and shows what there is")
    started_s, done = time.monotonic(), 0
    for round_number in range(arguments.rounds):
        for scenario in scenarios:
            for peer in peers:
                done += 1
                label = f"[{done}/{total} {time.monotonic() - started_s:4.0f} s]"
                label += f" round {round_number + 1} {scenario.name:11} {peer.name:15}"
                print(label, end=" ", flush=True)
                try:
                    outcome = run_once(peer, scenario, warm_up_s, arguments.seconds)
                except RunError as error:
                    results.add_failure(scenario, peer.name, str(error))
                    print(f"failed: {error}")
                else:
                    results.add(scenario, peer.name, round_number, outcome)
                    print(f"foreign CPU {outcome.foreign_pct:3.0f} %", *outcome.notes, sep="; ")


if __name__ == "__main__":
    sys.exit(main())
