"""Prepares the systems and runs the workloads, system after system, run after run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from scripts.bench.benchmark import Benchmark, Kit
from scripts.bench.chains import Prepared, Sizes, make_all
from scripts.bench.curves import CURVES, Curve
from scripts.bench.measure_replay import REPLAY, replay_kernel
from scripts.bench.rows import OURS, Row, Sample, make_rows
from scripts.bench.server import ROOT
from scripts.bench.systems import KERNEL, PEER, Litecoind, System, Taeld
from scripts.bench.workload import KEYS

KERNEL_PACKAGE = "py-bitcoinkernel"


def say(text: str) -> None:
    """Progress, apart from the result."""
    print(text, file=sys.stderr, flush=True)


def kernel_python(directory: Path) -> Path | None:
    """A Python that has the library, in an environment of its own; None if it cannot be had."""
    venv.create(directory, with_pip=True)
    python = directory / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", KERNEL_PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        say(f"without {KERNEL}: {done.stderr.strip()[-200:]}")
        return None
    return python


class Conductor:
    """Everything that is made once."""

    def __init__(self, directory: Path, sizes: Sizes, alone: bool) -> None:
        self.cores = os.cpu_count() or 1
        self.locks = KEYS
        self._directory = directory
        self._sizes = sizes
        program = None if alone else shutil.which("litecoind")
        self._python = None if alone else kernel_python(directory / "kernel")
        if not alone and program is None:
            say(f"without {PEER}: not installed")
        say(f"making chains of {sizes.payments:,} payments …")
        chains = make_all(directory / "chains", sizes, bool(program or self._python))
        self._bitcoin: Prepared | None = chains.get("bitcoin")
        self._systems: list[System] = [Taeld(chains["tael"])]
        if program:
            self._systems.append(Litecoind(chains["litecoin"], program))
        self._bases = {system.name: self._make_base(system) for system in self._systems}

    def _make_base(self, system: System) -> Path:
        """A data directory at the tip."""
        say(f"connecting the chain: {system.name} …")
        base = self._directory / "base" / system.name
        system.lay(base)
        with system.start(base, replay=True) as server:
            server.wait_ready(system.prepared.height)
        return base

    def conduct(self, benchmarks: Sequence[Benchmark], runs: int) -> list[Row]:
        """All rows of all benchmarks."""
        samples: list[Sample] = []
        for run in range(1, runs + 1):
            for benchmark in benchmarks:
                samples += self._run(benchmark, run)
        quantities = [quantity for benchmark in benchmarks for quantity in benchmark.quantities]
        return make_rows(quantities, samples)

    def trace(self) -> list[Curve]:
        """All growth curves, of taeld alone."""
        ours = self._systems[0]
        curves = []
        for measure in CURVES:
            say(f"{measure.__name__} …")
            curves.append(measure(Kit(ours, self._sizes, self._bases[OURS], self._scratch())))
        return curves

    def stages(self) -> dict[str, float]:
        """Microseconds of a replayed payment of taeld by stage, each stage alone."""
        say("stages …")
        command = [sys.executable, "-m", "scripts.bench.replay", "--runs", "1", "--json"]
        command += ["--payments", str(self._sizes.payments)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        found: dict[str, float] = json.loads(done.stdout)["stages_us"]
        return found

    def _run(self, benchmark: Benchmark, run: int) -> list[Sample]:
        found: dict[str, dict[str, float]] = {}
        # Nobody always has the machine first, or just after the other made it warm.
        for system in self._systems if run % 2 else reversed(self._systems):
            if measure := benchmark.runs.get(system.name):
                kit = Kit(system, self._sizes, self._bases[system.name], self._scratch())
                found[system.name] = measure(kit)
        if benchmark is REPLAY and self._python and self._bitcoin:
            found[KERNEL] = replay_kernel(
                self._python, self._bitcoin, self._sizes.payments, self._scratch()
            )
        first = benchmark.quantities[0].key
        told = ", ".join(f"{name} {figures[first]:,.2f}" for name, figures in sorted(found.items()))
        say(f"run {run}, {benchmark.name}: {told} {benchmark.quantities[0].unit}")
        return [
            Sample(key, name, run, value)
            for name, figures in found.items()
            for key, value in figures.items()
        ]

    def _scratch(self) -> Path:
        scratch = self._directory / "run"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        return scratch
