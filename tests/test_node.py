import subprocess
import sys

HEAVY = {"asyncio", "importlib.metadata", "rich", "typer", "yaml", "zmq.auth.thread"}


def test_a_node_imports_nothing_at_its_start_that_it_can_do_without():
    # Each restart pays for it: a dead node's stream is missing for that much longer.
    program = "import sys, fusion_rt.node, fusion_rt.drivers.synthetic; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "fusion_rt.node" in ran.stdout.split()
    assert HEAVY.isdisjoint(ran.stdout.split())
