"""The bench still measures what it says. How fast anything is, no test says."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from node.rpc.method import Role
from node.rpc.methods import METHODS
from scripts.bench.__main__ import BENCHMARKS, WAITING_MIN, main, sizes_for
from scripts.bench.bitcoin import BITCOIN, LITECOIN, BitcoinWorkload, BlockMaker, sha256d
from scripts.bench.chains import Sizes
from scripts.bench.curve_chain import GrowthWorkload
from scripts.bench.measure_allreads import READS_OF_BOTH
from scripts.bench.report import reads_table, table
from scripts.bench.rows import OURS, Quantity, Sample, make_rows
from scripts.bench.svg import plot
from scripts.bench.systems import PEER
from scripts.bench.workload import FIRST_COINS, Workload


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the short form writes."""
    path = tmp_path_factory.mktemp("bench") / "result.json"
    main(["--quick", "--json", str(path)])
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_short_form_yields_every_quantity_of_taeld_in_order(result: dict[str, Any]) -> None:
    keys = [quantity.key for benchmark in BENCHMARKS for quantity in benchmark.quantities]
    assert [row["quantity"]["key"] for row in result["rows"]] == keys
    assert all(list(row["systems"]) == [OURS] for row in result["rows"])


BETWEEN_NODES = {"block_relay", "block_relay_most"}
"""From the tip of one node to that of another, which may have it first."""


def test_every_figure_is_positive_and_within_its_range(result: dict[str, Any]) -> None:
    for row in result["rows"]:
        found, key = row["systems"][OURS], row["quantity"]["key"]
        assert found["least"] <= found["median"] <= found["most"], key
        assert found["least"] > 0 or key in BETWEEN_NODES, key


def test_keys_of_quantities_are_used_once() -> None:
    keys = [quantity.key for benchmark in BENCHMARKS for quantity in benchmark.quantities]
    assert len(keys) == len(set(keys))


def test_too_few_payments_are_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--payments", "9999"])
    assert ended.value.code == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith("error: --payments: at least 10,000; --quick measures with fewer")
    )


def test_the_fewest_payments_that_are_taken_leave_enough_coins_for_what_waits() -> None:
    sizes = sizes_for(WAITING_MIN)
    assert sizes.waiting >= max(sizes.template, sizes.reads, sizes.confirmed)
    assert sizes.waiting >= 1 + sizes.relay_blocks * sizes.relay_block + sizes.relayed
    assert sizes_for(Sizes().payments) == Sizes()


def test_ratios_are_of_pairs_in_one_run() -> None:
    quantity = Quantity("speed", "speed", "/s", True, {"peer": 1.5})
    ours = [Sample("speed", OURS, run, value) for run, value in enumerate((10.0, 40.0, 90.0))]
    peers = [Sample("speed", "peer", run, value) for run, value in enumerate((10.0, 20.0, 30.0))]
    [row] = make_rows([quantity], [*ours, *peers])
    compared = row.ratios["peer"]
    assert (compared.ratio.least, compared.ratio.median, compared.ratio.most) == (1.0, 2.0, 3.0)
    assert compared.holds is True


def test_goal_of_a_time_is_the_most_that_it_may_be() -> None:
    quantity = Quantity("time", "time", "ms", goals={"peer": 0.5}, limit=3.0)
    samples = [Sample("time", OURS, 1, 3.0), Sample("time", "peer", 1, 4.0)]
    [row] = make_rows([quantity], samples)
    assert row.ratios["peer"].holds is False
    assert row.holds is True


def test_plot_of_ratios_is_well_formed_and_names_what_it_shows() -> None:
    quantity = Quantity("time", "a < b", "ms", goals={"litecoind": 0.5})
    samples = [Sample("time", OURS, 1, 3.0), Sample("time", "litecoind", 1, 4.0)]
    root = ElementTree.fromstring(plot(make_rows([quantity], samples), {"c & d": 1.5}))
    assert {"a < b", "c & d", "1.5"} <= {element.text for element in root.iter()}


def test_every_read_of_the_table_is_a_method_that_only_reads() -> None:
    named = {read.method for read in READS_OF_BOTH}
    assert named <= METHODS.keys()
    assert all(METHODS[name].role is Role.READ for name in named)
    kinds = [(read.method, read.told) for read in READS_OF_BOTH]
    assert len(kinds) == len(set(kinds))


def test_reads_have_one_line_each_with_what_was_measured_of_them() -> None:
    quantities = [
        Quantity("read_tip", "tip", "/s", True, {PEER: 1.0}),
        Quantity("read_tip_p99", "tip: p99", "ms"),
        Quantity("read_tip_meanwhile_p99", "tip, a block every second: p99", "ms", limit=10.0),
    ]
    figures = {OURS: (30.0, 2.0, 11.0), PEER: (20.0, 4.0, 5.0)}
    samples = [
        Sample(quantity.key, system, 1, value)
        for system, values in figures.items()
        for quantity, value in zip(quantities, values, strict=True)
    ]
    rows = make_rows(quantities, samples)
    [line] = [line for line in reads_table(rows).splitlines() if "tip" in line]
    assert line == (
        "| tip | 30.0 | 20.0 | 1.50 (1.50–1.50) ≥ 1 ✓ | 2.00 | 4.00 | 11.0 ≤ 10 ✗ | 5.00 |"
    )
    assert "tip" not in table(rows)


def test_stages_of_a_replay_are_told_with_it(result: dict[str, Any]) -> None:
    assert len(result["stages"]) > 5
    assert all(us > 0 for us in result["stages"].values())


def test_same_figures_make_the_same_chain() -> None:
    first, second = ([block.header.hash for block in Workload(50, 50).blocks()] for _ in range(2))
    assert first == second


def test_peers_have_the_first_block_that_everyone_knows() -> None:
    assert sha256d(BITCOIN.genesis[:80])[::-1].hex() == (
        "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
    )
    assert sha256d(LITECOIN.genesis[:80])[::-1].hex() == (
        "530827f38f93b43ed12af0b3ad25a288dc02ed74d6d7857862df51fc56c416f9"
    )


def test_chain_of_the_peers_holds_as_many_payments_as_asked_for() -> None:
    workload = BitcoinWorkload(30, 20)
    bodies = list(workload.bodies())
    assert sum(len(body) - 1 for body in bodies) == 30
    maker = BlockMaker(BITCOIN)
    blocks = [maker.make(body) for body in bodies]
    parents = [block[4:36] for block in blocks[1:]]
    assert parents == [sha256d(block[:80]) for block in blocks[:-1]]


def test_growth_chain_makes_its_coins_and_then_blocks_of_the_sizes_asked_for() -> None:
    workload = GrowthWorkload(2_500, (3, 5))
    blocks = list(workload.blocks())
    assert [len(block.txs) - 1 for block in blocks[-2:]] == [3, 5]
    shared_out = [tx for block in blocks[:-2] for tx in block.txs[1:]]
    # Each takes one coin of the first and makes many.
    coins = FIRST_COINS + sum(len(tx.body.outputs) - 1 for tx in shared_out)
    assert coins >= 2_500
