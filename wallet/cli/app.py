"""What every command needs: settings, the opened wallet, the node, progress, questions.

Clock and randomness come from `wallet.__main__` and are handed on from here.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tomllib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from consensus.address import AddressError, decode_address, encode_address
from consensus.block import genesis
from consensus.hashes import LockHash
from consensus.params import NETWORKS, Params, ParamsError, params_from_mapping
from wallet.answers import ChainInfo, check_chain
from wallet.book import Book, decode_book, encode_book
from wallet.cli.output import Output
from wallet.cli.progress import with_progress
from wallet.client import Client, endpoint
from wallet.errors import WalletError
from wallet.files import OWN_ENDINGS, locked, make_directory, read_file
from wallet.journal import Journal, open_journal
from wallet.keystore import (
    DEFAULT_COST,
    Cost,
    Entropy,
    Keystore,
    check_absent,
    create_keystore,
    open_keystore,
)
from wallet.scan import Say
from wallet.tracked import Keyring

T = TypeVar("T")
Work = Callable[[Client, ChainInfo, Say], Awaitable[T]]

RPC_PORTS = {"main": 9931, "test": 19931, "regtest": 29931}
PRIVATE_RPC_PORT = 39931
"""Of every network that is not built in."""
HOME = Path("~/.tael")
PASSPHRASE_VARIABLE = "TAEL_PASSPHRASE"
_TOML_BYTES_MAX = 1024 * 1024
_PASSPHRASE_BYTES_MAX = 10_000


class Environment(msgspec.Struct, frozen=True):
    """What the process gives: nothing below reaches for it otherwise."""

    now: Callable[[], int]
    """Seconds since 1970."""
    entropy: Entropy
    pause: Callable[[float], None]
    rng: random.Random
    cost: Cost = DEFAULT_COST
    """Of guessing the passphrase of a new wallet file."""


class Settings(msgspec.Struct):
    """The options that every command takes."""

    network: str = "main"
    wallet: str | None = None
    rpc: str | None = None
    datadir: str | None = None
    passphrase_file: str | None = None
    json: bool = False


class Wallet(msgspec.Struct):
    """An opened wallet. Its lock is held as long as the command runs."""

    keystore: Keystore
    book: Book
    keyring: Keyring

    def save(self) -> None:
        """Raises: WalletError."""
        self.keystore.save(encode_book(self.book))

    def journal(self, app: App) -> Journal:
        """Its payments that have a request id. Raises: WalletError."""
        account, entropy = self.keyring.account, app.env.entropy
        return open_journal(self.keystore.path, self.book, account, entropy)


class App:
    """The settings of one command, and what follows from them."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.settings = Settings()
        self._params: Params | None = None

    @property
    def out(self) -> Output:
        return Output(self.settings.json)

    @property
    def params(self) -> Params:
        """The parameters of the chosen network. Raises: WalletError."""
        if self._params is None:
            self._params = _load_params(self.settings.network)
        return self._params

    @property
    def network(self) -> str:
        return self.params.name.decode("ascii")

    @property
    def wallet_path(self) -> Path:
        if self.settings.wallet is not None:
            return Path(self.settings.wallet).expanduser()
        return HOME.expanduser() / "wallets" / f"{self.network}.wallet"

    def output_path(self, text: str) -> Path:
        """Where to write a file that somebody names: never over the wallet, or what belongs to it.

        Raises: WalletError.
        """
        path = Path(text).expanduser()
        wallet, target = self.wallet_path.resolve(), path.resolve()
        own = [wallet.with_name(wallet.name + ending) for ending in ("", *OWN_ENDINGS)]
        if any(target == entry or entry in target.parents for entry in own):
            raise WalletError(f"{text} is the wallet, or belongs to it; give another file")
        if path.exists() and not path.is_file():  # a device would be replaced by the file
            raise WalletError(f"{text} is there already, and is no file")
        return path

    @property
    def cookie_path(self) -> Path:
        datadir = self.settings.datadir
        folder = HOME.expanduser() / self.network if datadir is None else Path(datadir).expanduser()
        return folder / ".cookie"

    @property
    def rpc_url(self) -> str:
        port = RPC_PORTS.get(self.network, PRIVATE_RPC_PORT)
        return self.settings.rpc or f"http://127.0.0.1:{port}"

    def decode_address(self, text: str) -> LockHash:
        """The lock that an address of this network pays to. Raises: WalletError."""
        try:
            return decode_address(self.params.hrp.decode("ascii"), text)
        except AddressError as error:
            raise WalletError(f"{text[:100]!r} is not usable: {error}") from None

    def address(self, lock: bytes) -> str:
        """The address of a lock hash on this network."""
        return encode_address(self.params.hrp.decode("ascii"), lock)

    # The wallet file

    def passphrase(self) -> str:
        """The passphrase from a file, the environment or a prompt. Raises: WalletError."""
        given = self._given_passphrase()
        return self.prompt("Passphrase", hidden=True) if given is None else given

    def new_passphrase(self) -> str:
        """As `passphrase`, but typed twice. Raises: WalletError."""
        given = self._given_passphrase()
        if given is None:
            given = self.prompt("New passphrase", hidden=True)
            if self.prompt("The same again", hidden=True) != given:
                raise WalletError("the two passphrases differ")
        return check_passphrase(given)

    @property
    def has_passphrase(self) -> bool:
        """Whether nobody has to be asked for it."""
        return self.settings.passphrase_file is not None or PASSPHRASE_VARIABLE in os.environ

    def _given_passphrase(self) -> str | None:
        if self.settings.passphrase_file is not None:
            return read_passphrase(Path(self.settings.passphrase_file).expanduser())
        return os.environ.get(PASSPHRASE_VARIABLE)

    def prompt(self, text: str, hidden: bool = False) -> str:
        """Ask a person. Raises: WalletError if nobody is there."""
        if not sys.stdin.isatty():
            remedy = (
                f"set {PASSPHRASE_VARIABLE} or give --passphrase-file" if hidden else "give a file"
            )
            raise WalletError(f"{text.lower()}: there is no terminal to ask at; {remedy}")
        return str(click.prompt(text, hide_input=hidden, err=True, default="", show_default=False))

    def confirm(self, question: str, yes: bool) -> None:
        """Go on only if a person says so, or `--yes` did. Raises: WalletError."""
        if yes:
            return
        if self.settings.json or not sys.stdin.isatty():
            raise WalletError("nothing was done: confirm with --yes")
        if not click.confirm(question, err=True):
            raise WalletError("nothing was done")

    def create_wallet(self, book: Book) -> Wallet:
        """A new wallet file for `book`. Raises: WalletError."""
        path = self.wallet_path
        check_absent(path)
        keyring = Keyring(self.params, book)
        passphrase = self.new_passphrase()
        # Only now, so that whoever is refused leaves nothing behind.
        make_directory(path.parent)
        with locked(path, self.env.pause):
            keystore = create_keystore(
                path, passphrase, encode_book(book), self.env.cost, self.env.entropy
            )
            return Wallet(keystore, book, keyring)

    @contextmanager
    def open_wallet(self) -> Iterator[Wallet]:
        """The wallet, locked against other commands. Raises: WalletError."""
        path = self.wallet_path
        if not path.exists():
            raise WalletError(f"{path}: there is no wallet; make one with `tael create`")
        path = path.resolve()  # else a link would have a lock and a journal of its own
        with locked(path, self.env.pause):
            keystore, payload = open_keystore(path, self.passphrase(), self.env.entropy)
            book = decode_book(payload)
            if book.chain_id != genesis(self.params).header.hash:
                if book.network == self.params.name.decode():
                    raise WalletError(
                        f"{path}: belongs to another network of the name {book.network!r}: the file "
                        "that describes it is not the one that the wallet was made with (go back to "
                        "that one, or restore it from its words to a new file with --wallet)"
                    )
                raise WalletError(
                    f"{path}: belongs to network {book.network!r}, not to {self.network!r}; "
                    "choose it with --network"
                )
            yield Wallet(keystore, book, Keyring(self.params, book))

    # The node

    def ask_node(self, work: Work[T]) -> T:
        """Run `work` with a node of the right chain, showing progress. Raises: WalletError."""
        client = Client(endpoint(self.rpc_url, self.cookie_path))

        async def run(say: Say) -> T:
            async with client:
                say("asking the node")
                info = await check_chain(client, self.params)
                return await work(client, info, say)

        return asyncio.run(with_progress(run))


def check_passphrase(passphrase: str) -> str:
    """Raises: WalletError for one that protects nothing."""
    if not passphrase:
        raise WalletError("the passphrase must not be empty")
    return passphrase


def read_passphrase(path: Path) -> str:
    """The first line of a file. Raises: WalletError."""
    data = read_file(path, _PASSPHRASE_BYTES_MAX)
    try:
        return data.decode("utf-8").split("\n")[0].rstrip("\r")
    except UnicodeDecodeError:
        raise WalletError(f"{path}: not a text file") from None


def _load_params(network: str) -> Params:
    built_in = NETWORKS.get(network)
    if built_in is not None:
        return built_in
    path = Path(network).expanduser()
    if path.suffix != ".toml":
        raise WalletError(f"{network[:100]!r} is not a network: main, test, regtest or FILE.toml")
    try:
        return params_from_mapping(tomllib.loads(read_file(path, _TOML_BYTES_MAX).decode("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WalletError(f"{path}: not a TOML file: {error}") from None
    except ParamsError as error:
        raise WalletError(f"{path}: {error}") from None
