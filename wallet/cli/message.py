"""Commands about signed texts: sign-message, verify-message."""

from __future__ import annotations

import click

from wallet.cli.app import App
from wallet.cli.options import Command
from wallet.errors import WalletError
from wallet.message import check_text, sign_message, verify_message


@click.command("sign-message", cls=Command)
@click.argument("address")
@click.argument("text")
@click.pass_obj
def sign(app: App, address: str, text: str) -> None:
    """Sign TEXT with the keys of ADDRESS, to prove that you own it."""
    check_text(text)
    lock_hash = app.decode_address(address)
    with app.open_wallet() as wallet:
        place = wallet.keyring.places().get(lock_hash)
        if place is None or place.lock is None:
            raise WalletError("the address is not of this wallet")
        canonical = app.address(lock_hash)
        signature = sign_message(canonical, place.lock, text, wallet.keyring.secret_of)
        app.out.result(
            {"address": canonical, "message": text, "signature": signature},
            lambda: app.out.line(signature),
        )


@click.command("verify-message", cls=Command)
@click.argument("address")
@click.argument("signature")
@click.argument("text")
@click.pass_obj
def verify(app: App, address: str, signature: str, text: str) -> None:
    """Check that the owner of ADDRESS signed TEXT. Needs neither wallet nor node."""
    check_text(text)
    lock_hash = app.decode_address(address)
    canonical = app.address(lock_hash)
    if not verify_message(canonical, lock_hash, text, signature):
        raise WalletError("the signature is NOT that of this address on this text")
    app.out.result(
        {"address": canonical, "message": text, "valid": True},
        lambda: app.out.line("The signature is good."),
    )
