"""The node, put together from what a machine offers.

Parts are opened in order and closed in the opposite order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from consensus.block import genesis
from consensus.errors import Refused, StorageError
from consensus.hashes import LockHash
from consensus.params import REGTEST
from consensus.tx import BURN_LOCK
from node.backup import Backups
from node.blockfiles import RecordFiles
from node.config import PORTS, PRIVATE_PORTS, ConfigError, Settings
from node.database import Database
from node.datadir import MEMPOOL_FILE, PEERS_FILE, REBUILD, DataDirectory, SmallFile
from node.descriptors import share_out
from node.doors import House, listen_as
from node.eventlog.journal import Journal
from node.eventlog.service import Events
from node.events import EventBus, TipChanged
from node.identity import load_tls
from node.keeper import TemplateKeeper
from node.ledger import Ledger
from node.life import Life, cancel, later
from node.machine import Machine, RpcServer
from node.mempool_restart import load_waiting
from node.miner import Extranonces, Miner
from node.operations.readiness import Readiness
from node.operations.reload import Reload, compare, take_over, users_of
from node.operations.service import State
from node.operations.watch import Watch, demands_of
from node.peering import Peering, listen_to_ledger
from node.policy import Policy
from node.recovery import check_sources, restore
from node.rpc import ports
from node.rpc.auth import Authenticator, User, remove_cookie, write_cookie
from node.rpc.dispatch import Dispatcher
from node.rpc.methods import METHODS
from node.rpc.methods_mining import prepare_template, show_entry
from node.store import Store
from node.template import Template, TemplateBuilder
from node.versions import Versions
from p2p.config import NetworkConfig
from p2p.hub import Hub

log = logging.getLogger(__name__)

VERSION = "0.1.0"
FLUSH_EVERY_S = 60.0
"""Longest time that a connected block waits in memory before it is written to the database."""


class _Rpc(NamedTuple):
    dispatcher: Dispatcher[ports.Node]
    server: RpcServer
    users: Sequence[User]
    """The last is the cookie."""
    authenticator: Authenticator
    """For the other doors."""


class Node:
    """A node with everything that belongs to it."""

    def __init__(
        self, settings: Settings, machine: Machine,
        on_state: Callable[[State], None] = lambda state: None,
    ) -> None:  # fmt: skip
        """`on_state` is told when the node is ready, and when it begins to stop."""
        self.settings = settings
        self.machine = machine
        self.started_at = machine.clock.time()
        self.bus = EventBus()
        self._life = Life()
        self._rpc: _Rpc | None = None
        self.events: Events | None = None
        self._reload: Reload | None = None
        self._on_state = on_state

    # Life

    async def run(self) -> None:
        """Start, work until `stop` is called or something breaks, and close everything.

        Raises: StorageError, OSError; ConfigError (a port is taken, a user is none).
        """
        await self._life.run(self._start, self._before_closing)

    async def _before_closing(self) -> None:
        self._on_state(State.STOPPING)
        self._reload = None
        if self._rpc is not None:
            # Whoever asks from now on must not reach a part that is being closed.
            self._rpc.dispatcher.node = None
            self._rpc.dispatcher.state = "stopping"
            if self.events is not None:
                self.events.end_waits()
            await self._rpc.server.close()

    def stop(self) -> None:
        """Have `run` return soon."""
        self._life.end()

    def reload(self, settings: Settings) -> None:
        """Follow another configuration as far as that needs no new start, and say how far that is.

        Raises: ConfigError, and then nothing has changed.
        """
        if self._reload is None:
            raise ConfigError("the node is starting or stopping")
        self._reload.apply(self.settings, settings)
        live, waiting = compare(self.settings.config, settings.config)
        self.settings = take_over(self.settings, settings)
        log.info("configuration read again; changed: %s", ", ".join(live) or "nothing")
        if waiting:
            log.warning("these change with the next start only: %s", ", ".join(waiting))

    def describe(self) -> str:
        """What it is at, in a few words."""
        if self._reload is None:
            return "starting or stopping"
        tip, best = self.ledger.tip, self.ledger.tree.best_header
        return f"block {tip.height} of {best.height}, {len(self.network.peers())} peers"

    # Parts

    async def _start(self) -> None:
        settings = self.settings
        params = settings.params
        self.machine.tune()
        log.info("tael %s, network %s", VERSION, params.name.decode())
        self.directory = DataDirectory(settings.datadir, self.machine.disk)
        self._life.at_end(self._close_directory)
        self.tls = load_tls(settings, self.directory, self.machine.clock.now())
        rpc = await self._start_rpc()
        self.store = await self._open_store()
        self._life.at_end(self._close_store)
        self.verifier = self.machine.make_verifier(settings.config.verify_processes)
        self._life.at_end(self.verifier.close)
        policy = Policy(
            min_fee_rate=settings.config.min_fee_rate,
            size_bytes_max=settings.config.mempool_mb * 1_000_000,
        )
        self.ledger = Ledger(
            genesis(params), params, self.store, self.verifier, policy, self.machine.clock.time,
            self.bus, settings.least_work,
        )  # fmt: skip
        await self._start_chain()
        if settings.config.events:
            await self._start_events()
        await self._start_network()
        # After the network, that peers hear of what nobody may have heard of yet.
        await self._load_mempool()
        if self.events is not None:
            self.events.follower.mempool_loaded()
        self._life.at_end(self._save_mempool)
        templates, extranonces = self._start_mining()
        node = self._answer_calls(templates, extranonces)
        await self._open_doors(node)
        self._reload = Reload(
            self.ledger.mempool, node.network, node.watch, rpc.users[-1], self._set_users
        )  # fmt: skip
        self._life.at_end(later(self._reload.end))
        self._on_state(State.READY)

    async def _open_store(self) -> Store:
        settings, directory, machine = self.settings, self.directory, self.machine
        versions = Versions(directory)
        is_old = versions.check(settings.config.reindex)  # before anything is touched
        first = genesis(settings.params)
        blocks = RecordFiles(directory.blocks, "blk", disk=machine.disk)
        is_anew = is_old or settings.config.reindex
        undo = RecordFiles(
            directory.undo, "undo", disk=machine.disk, remedy=REBUILD, may_lack=is_anew
        )
        if is_anew:
            await check_sources(blocks, first.raw)
            log.info("rebuilding the database from the block files")
            versions.begin_rebuilding()
            machine.destroy_database(directory.state)
        directory.make(directory.state)
        self._writer = machine.make_writer()
        store = Store(
            machine.open_database(directory.state), blocks, undo, self._writer, first.header.hash,
            settings.config.index, machine.clock.monotonic,
        )  # fmt: skip
        versions.settle()
        return store

    # JSON-RPC: up first, to say that the node is starting

    async def _start_rpc(self) -> _Rpc:
        settings = self.settings
        users = users_of(settings.config)
        cookie = self.directory.cookie
        try:
            users.append(write_cookie(cookie, self.machine.secret(32), self.machine.disk))
        except OSError as error:
            raise StorageError(
                f"cannot write {cookie}: {error.strerror}",
                "make room on the disk, or mend its rights",
            ) from None
        self._life.at_end(self._remove_cookie)
        dispatcher: Dispatcher[ports.Node] = Dispatcher(METHODS, settings.params)
        server = self.machine.make_rpc_server(dispatcher, users, settings.config.rpc_host)
        await listen_as("rpc", settings.rpc, server.start(*settings.rpc))
        self._rpc = _Rpc(dispatcher, server, users, Authenticator(users))
        log.info("JSON-RPC at http://%s", settings.rpc._replace(port=server.port))
        return self._rpc

    def _set_users(self, users: Sequence[User]) -> None:
        assert self._rpc is not None
        self._rpc.server.set_users(users)
        self._rpc.authenticator.set_users(users)

    async def _remove_cookie(self) -> None:
        remove_cookie(self.directory.cookie, self.machine.disk)

    async def _start_network(self) -> None:
        settings, ledger = self.settings, self.ledger
        shares = share_out(self.machine.descriptors)
        if shares.are_short:
            log.warning(
                "only %d files and sockets may be open, so at most %d clients and %d peers that connect "
                "to us; raise it (ulimit -n)",
                self.machine.descriptors, shares.rpc, shares.inbound,
            )  # fmt: skip
        config = NetworkConfig(
            inbound_max=shares.inbound,
            handshaking_max=shares.handshaking,
            listen=settings.p2p,
            connect=settings.connect,
            outbound_target=settings.config.outbound,
            agent=f"/tael:{VERSION}/".encode(),
        )
        machine = self.machine
        self.network = Hub(
            ledger, machine.make_transport(config, self.tls), config, machine.clock, machine.rng,
            SmallFile(self.directory, PEERS_FILE), self._life.fail,
        )  # fmt: skip
        await listen_as("p2p", settings.p2p, self.network.start())
        self._life.at_end(self.network.close)
        end = listen_to_ledger(self.bus, self.network)
        self._life.at_end(later(end))
        if self.network.local_address is not None:
            log.info("peers at %s", self.network.local_address)
        is_alone = not settings.connect and not self.network.known_addresses
        if is_alone and settings.config.outbound and settings.params.name != REGTEST.name:
            log.info(
                "no other node is known yet: start with --connect HOST:PORT of one, or call addnode; "
                "of others it hears from there"
            )
        if self.tls is not None:
            log.info("certificate %s", self.tls.certificate.fingerprint.hex())

    def _start_mining(self) -> tuple[TemplateBuilder, Extranonces]:
        settings, ledger = self.settings, self.ledger
        extranonces = Extranonces(self.machine.secret(4))
        templates = TemplateBuilder(
            ledger.tree,
            ledger.mempool,
            ledger.supply,
            self.machine.clock.time,
            settings.config.mine_stale_genesis,
        )

        def build(payout: LockHash) -> Template:
            return templates.build(ledger.tip, payout)

        def prepare() -> None:
            if not ledger.is_syncing:
                with suppress(Refused):
                    prepare_template(templates.build(ledger.tip, BURN_LOCK))

        keeper = TemplateKeeper(ledger.mempool, show_entry, prepare)
        keeper.listen(self.bus)
        self._life.keep(keeper.run())

        if settings.mine_to is not None:
            miner = Miner(
                settings.params,
                settings.mine_to,
                build,
                ledger.submit_known,
                self.bus,
                self.machine.clock.monotonic,
                extranonces,
                settings.config.mine_processes,
                settings.config.mine_interval,
            )
            self._life.keep(miner.run())
            log.info("mining to %s", settings.config.mine_to)
        return templates, extranonces

    def _answer_calls(self, templates: TemplateBuilder, extranonces: Extranonces) -> ports.Node:
        """Have the JSON-RPC answer from the parts, which are all there now."""
        settings, ledger = self.settings, self.ledger
        backups = Backups(ledger.chain, self.machine.disk, self.machine.open_database)
        self._life.at_end(backups.close)
        assert self._rpc is not None
        node = self._rpc.dispatcher.node = ports.Node(
            ledger=ledger,
            network=Peering(self.network, self.tls),
            templates=templates,
            extranonces=extranonces,
            clock=self.machine.clock.time,
            started=self.started_at,
            backups=backups,
            watch=self._start_watch(self._rpc.dispatcher),
            stop=self.stop,
            methods=METHODS,
            p2p_port=PORTS.get(settings.params.name.decode(), PRIVATE_PORTS)[1],
            version=VERSION,
            events=self.events,
        )
        return node

    def _start_watch(self, dispatcher: Dispatcher[ports.Node]) -> Watch:
        """Have what happens counted, if anybody can ask for it."""
        settings, machine = self.settings, self.machine
        readiness = Readiness(
            self.ledger, machine.clock.time, settings.datadir, machine.free_bytes
        )  # fmt: skip
        monotonic = machine.clock.monotonic
        watch = Watch(readiness, demands_of(settings.config), METHODS, monotonic)
        if settings.web is not None:
            dispatcher.watch(watch.calls.note, monotonic)
            self._life.keep(watch.pulse.run())
            self._life.at_end(later(watch.happened.listen(self.bus)))
        return watch

    async def _open_doors(self, node: ports.Node) -> None:
        assert self._rpc is not None
        rpc, shares = self._rpc, share_out(self.machine.descriptors)
        house = House(
            self.settings, node, rpc.authenticator, shares,
            self.machine.clock.monotonic, self._open_database,
        )  # fmt: skip
        for door in self.machine.make_doors(house):
            # First, since one that cannot start may have come half of the way.
            self._life.at_end(door.close)
            await listen_as(door.option, door.endpoint, door.start())
            log.info("%s at %s", door.option, door.endpoint)

    def _open_database(self, folder: str) -> Database:
        path = self.directory.path / folder
        self.directory.make(path)
        return self.machine.open_database(path)

    async def _close_directory(self) -> None:
        self.directory.close()

    async def _close_store(self) -> None:
        await self.store.finish()
        self._writer.shutdown()
        self.store.close()

    async def _start_chain(self) -> None:
        chain = self.ledger.chain
        began = self.machine.clock.monotonic()
        await restore(chain)
        following = self._life.spawn(chain.run())
        flushing = self._life.spawn(self._flush_regularly())
        self._life.at_end(self._flush_last)
        self._life.at_end(lambda: cancel(flushing))
        self._life.at_end(lambda: cancel(following))
        progress = self._life.spawn(self._tell_progress())
        await chain.settled()
        await cancel(progress)
        log.info(
            "at block %d, %s, after %.1f s",
            self.ledger.tip.height, self.ledger.tip.hash[::-1].hex(), self.machine.clock.monotonic() - began,
        )  # fmt: skip
        self.bus.subscribe(TipChanged, self._tell_tip)

    async def _start_events(self) -> None:
        """Before anything can move the tip, so that the log meets the chain where it left it."""
        machine, directory = self.machine, self.directory
        directory.make(directory.events)
        writer = machine.make_writer()
        self._life.at_end(later(writer.shutdown))
        journal = Journal(machine.open_database(directory.events), writer)
        self._life.at_end(later(journal.close))
        self.events = Events(
            journal, self.ledger, machine.clock.time, machine.secret, machine.make_poster(), machine.rng
        )  # fmt: skip
        self._life.at_end(self.events.close)
        await self.events.start(self._life.spawn)
        log.info("event log %s at event %d", self.events.log.name, self.events.log.last)

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self.ledger.chain.flush()

    async def _flush_last(self) -> None:
        await self.ledger.chain.flush()
        log.info("state written at block %d", self.ledger.tip.height)

    async def _tell_progress(self) -> None:
        tree = self.ledger.tree
        while True:
            await asyncio.sleep(2)
            log.info("connecting blocks: %d of %d", self.ledger.tip.height, tree.best_header.height)

    def _tell_tip(self, event: TipChanged) -> None:
        log.info("block %d, %s", event.tip.height, event.tip.hash[::-1].hex())

    # Mempool over a restart

    async def _load_mempool(self) -> None:
        data = self.directory.load(MEMPOOL_FILE)
        if data is None:
            return
        await load_waiting(self.ledger, data)

    async def _save_mempool(self) -> None:
        self.directory.save(MEMPOOL_FILE, self.ledger.mempool.dump())
