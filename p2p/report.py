"""What operators are shown of a peer."""

from __future__ import annotations

from p2p.link import Link
from p2p.peer import PeerInfo
from p2p.ports import NodePort
from p2p.router import Router


def peer_info(link: Link, router: Router, node: NodePort, now: float) -> PeerInfo:
    """Describe a peer that is ready."""
    peer, hello = link.peer, link.peer.hello
    assert hello is not None
    best = router.headers.chains[peer.id].best
    return PeerInfo(
        id=peer.id,
        address=str(peer.endpoint),
        kind=peer.kind,
        agent=hello.agent.decode("ascii"),
        version=hello.version,
        services=hello.services,
        connected_at=peer.connected_at,
        last_send=peer.last_send,
        last_receive=peer.last_receive,
        bytes_sent=peer.bytes_sent,
        bytes_received=peer.bytes_received,
        ping_s=link.session.ping_s,
        ping_least_s=link.session.ping_least_s,
        starting_height=hello.height,
        best_height=best.height if best else -1,
        best_work=best.work if best else 0,
        synced_headers=best.height if best else -1,
        synced_blocks=node.tree.fork(best, node.tip).height if best else -1,
        blocks_in_flight=router.download.in_flight(peer.id),
        last_block=peer.last_block,
        last_tx=peer.last_tx,
        score=peer.score(now),
        is_encrypted=link.wire.is_encrypted,
        certificate=link.wire.certificate,
    )
