"""The processes of the chaos rig that nobody but the harness watches: started again as they die."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from fusion_rt.rig import find_rig
from tests.chaos.reader import HOWS

ROOT = Path(__file__).parents[2]
# Two hundred rounds would end any rig's patience: what is watched here is each single restart.
_POLICY = "supervisor: {stop_ms: 3000, restart: {limit: 1000, window_s: 0.2}}\n"


class Actor:
    """One process under its name. Its errors go to the log, its output too unless it reports."""

    def __init__(self, name, command, log, *, is_reporting=False):
        self.name = name
        self._command = command
        self._log = log
        self._is_reporting = is_reporting
        self.process = None
        self.start()

    def start(self):
        self._close_reports()
        self._rest = b""
        self.process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if self._is_reporting else self._log,
            stderr=self._log,
        )
        if self._is_reporting:
            os.set_blocking(self.process.stdout.fileno(), False)

    @property
    def pid(self):
        return self.process.pid

    def is_dead(self):
        return self.process.poll() is not None

    def reports(self):
        """What it has reported since the last look; a line cut off by its death is lost."""
        if not self._is_reporting:
            return []
        *whole, self._rest = (self._rest + (self.process.stdout.read() or b"")).split(b"\n")
        return [json.loads(line) for line in whole]

    def stop(self):
        """SIGTERM, as systemd would; returns the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()
            self._close_reports()

    def _close_reports(self):
        if self.process is not None and self._is_reporting:
            self.process.stdout.close()


class Stage:
    """A directory of its own, the demo's rig in it, and the actors by name."""

    def __init__(self, *, is_tearing=False):
        self._directory = tempfile.TemporaryDirectory(prefix="chaos-")
        self.path = Path(self._directory.name)
        self.run_dir = self.path / "run"
        self.log_path = self.path / "log"
        self._log = self.log_path.open("wb")
        self._is_tearing = is_tearing
        self.actors = {}

    def start_supervisor(self):
        rig = find_rig("demo")
        text = rig.read_text().replace("calibration: ", f"calibration: {rig.parent}/")
        (self.path / "demo.yaml").write_text(text + _POLICY)
        command = self._python("fusion_rt", "run", self.path / "demo.yaml")
        self.actors["supervisor"] = Actor("supervisor", command, self._log)

    def start_others(self):
        tear = ["--tear"] if self._is_tearing else []
        load = self._python("tests.chaos.load", *tear, "--parent", os.getpid())
        self.actors["load"] = Actor("load", load, self._log)
        for how in HOWS:
            command = self._python("tests.chaos.reader", how, "--parent", os.getpid())
            self.actors[how] = Actor(how, command, self._log, is_reporting=True)

    def close(self):
        self._log.close()
        self._directory.cleanup()

    def _python(self, module, *arguments):
        words = [sys.executable, "-m", module, *arguments, "--run-dir", self.run_dir]
        return [str(word) for word in words]
