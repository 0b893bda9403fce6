"""The pages of the explorer, by their paths."""

from __future__ import annotations

from node.web.pages import page
from node.web.site import Route
from node.web.view_address import address
from node.web.view_assets import asset, assets
from node.web.view_chain import block, blocks
from node.web.view_mempool import mempool
from node.web.view_overview import overview
from node.web.view_pay import pay
from node.web.view_peers import peers
from node.web.view_search import search
from node.web.view_tx import transaction
from node.web.visitor import set_view

VIEWS = (
    ("/", overview),
    ("/blocks", blocks),
    ("/block/{block}", block),
    ("/tx/{txid}", transaction),
    ("/address/{address}", address),
    ("/pay", pay),
    ("/assets", assets),
    ("/asset/{asset}", asset),
    ("/mempool", mempool),
    ("/peers", peers),
    ("/search", search),
)

ROUTES = (
    *(Route("GET", path, page(view)) for path, view in VIEWS),
    Route("GET", "/view", set_view),
)
