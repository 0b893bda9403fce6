"""The files that operators copy: each is what its own tool takes for good, and names what exists."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from node.operations.reload import LIVE
from node.versions import PARTS
from tests.operations.kit import get
from tests.support.daemon import ROOT, Daemon, running, wait_for

FOLDER = ROOT / "docs" / "operations"
EXPOSURE_MAX = 1.5
"""As `systemd-analyze security` counts, from 0 (none) to 10."""
_NAME = re.compile(r"\b(?:tael|process|python)_[a-z_]+\b")


def tool(package: str, *command: str, cwd: Path = FOLDER) -> str:
    """Run a tool of the system; it must be there and find nothing wrong."""
    try:
        made = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.fail(f"{command[0]} is missing: apt-get install {package}")
    assert made.returncode == 0, made.stdout + made.stderr
    return made.stdout + made.stderr


def queries(metrics: Iterable[Metric]) -> set[str]:
    """The names that a query may use."""
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    return {metric.name + end for metric in metrics for end in endings.get(metric.type, ("",))}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    daemon = Daemon(tmp_path_factory.mktemp("node"), "--web", "127.0.0.1:0")
    with running(daemon):
        wait_for(lambda: "web" in daemon.doors, "the web server listens")
        _, body = get(daemon, "/metrics")
        yield queries(text_string_to_metric_families(body.decode()))


def test_alerts_ask_for_figures_that_exist(known: set[str]) -> None:
    text = (FOLDER / "alerts.yml").read_text()
    asked = {name for line in text.splitlines() if "expr:" in line for name in _NAME.findall(line)}
    assert len(asked) > 10
    assert asked <= known


def test_dashboard_asks_for_figures_that_exist(known: set[str]) -> None:
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    panels = dashboard["panels"]
    asked = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in _NAME.findall(target["expr"])
    }
    assert asked <= known
    assert len(asked) > 25


def test_panels_of_the_dashboard_lie_side_by_side() -> None:
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_prometheus_takes_the_alerts_and_its_configuration() -> None:
    assert "15 rules found" in tool("prometheus", "promtool", "check", "rules", "alerts.yml")
    tool("prometheus", "promtool", "check", "config", "prometheus.yml")


def test_alerts_ring_when_they_should_and_not_before() -> None:
    tool("prometheus", "promtool", "test", "rules", "alerts_test.yml", cwd=Path(__file__).parent)


def test_every_alert_has_its_recipe() -> None:
    names = re.findall(r"alert: (\w+)", (FOLDER / "alerts.yml").read_text())
    text = (FOLDER.parent / "operations.md").read_text()
    assert names
    assert [name for name in names if f"`{name}`" not in text] == []


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is there."""
    text = (FOLDER / "taeld.service").read_text()
    made = tmp_path / "taeld.service"
    made.write_text(text.replace("/opt/tael/.venv/bin/taeld", sys.executable))
    return made


def test_systemd_takes_the_unit(unit: Path) -> None:
    assert tool("systemd", "systemd-analyze", "verify", "--man=no", str(unit)).strip() == ""


def test_unit_is_exposed_to_little(unit: Path) -> None:
    threshold = f"--threshold={int(EXPOSURE_MAX * 10)}"
    tool("systemd", "systemd-analyze", "security", "--offline=yes", threshold, str(unit))


def test_options_in_the_unit_and_the_image_are_those_of_the_node() -> None:
    unit = (FOLDER / "taeld.service").read_text()
    image = (FOLDER / "Dockerfile").read_text()
    shown = subprocess.run(
        [sys.executable, "-m", "node", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    starts = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    starts += [line for line in image.splitlines() if line.startswith(("ENTRYPOINT", "CMD"))]
    used = {name for line in starts for name in re.findall(r"--[a-z0-9-]+", line)}
    assert {"--datadir", "--config", "--p2p"} == used
    assert all(name in shown for name in used)


def copied() -> list[str]:
    """What the image is made from."""
    found = []
    for line in (FOLDER / "Dockerfile").read_text().splitlines():
        words = line.split()
        if words[:1] == ["COPY"] and not words[1].startswith("--from"):
            found += words[1:-1]
    return found


def test_image_is_made_from_files_that_exist_and_are_let_through() -> None:
    lines = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    let_through = {line[1:] for line in lines if line.startswith("!")}
    assert set(copied()) == let_through
    assert all((ROOT / name).exists() for name in let_through)
    packages = re.search(r"include = \[(.*)\]", (ROOT / "pyproject.toml").read_text())
    assert packages is not None
    for pattern in re.findall(r'"([^"]+)"', packages[1]):
        assert fnmatch.filter(let_through, pattern), f"{pattern} is not in the image"


def test_image_runs_as_nobody_in_particular_and_ends_by_a_signal() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    last = text.rindex("\nFROM ")
    for line in ("USER 931:931", "VOLUME /data", "STOPSIGNAL SIGTERM", "HEALTHCHECK "):
        assert text.index(f"\n{line}") > last


def test_document_names_every_setting_that_needs_no_new_start() -> None:
    text = (FOLDER.parent / "operations.md").read_text()
    listed = re.search(r"At once count (.*?);", text, re.DOTALL)
    assert listed is not None
    assert {name.replace("-", "_") for name in re.findall(r"`([a-z-]+)`", listed[1])} == set(LIVE)


def test_document_names_every_part_in_its_version() -> None:
    text = (FOLDER.parent / "operations.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z.]+)` \| (\d+) \|", text, re.MULTILINE))
    assert {name: int(version) for name, version in rows.items()} == {
        name: part.newest for name, part in PARTS.items()
    }
