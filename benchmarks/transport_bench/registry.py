"""Every transport that can be measured, by name."""

from transport_bench.dora_flow import Dora
from transport_bench.ecal_shm import Ecal
from transport_bench.floor import Floor
from transport_bench.iceoryx import Iceoryx2, Iceoryx2Loan
from transport_bench.ours import FusionRt, FusionRtLoan
from transport_bench.peer import Peer
from transport_bench.zenoh_shm import ZenohShm
from transport_bench.zeromq import ZmqCopy, ZmqNoCopy

PEERS: dict[str, type[Peer]] = {
    peer.name: peer
    for peer in (
        Floor,
        FusionRt,
        FusionRtLoan,
        Iceoryx2,
        Iceoryx2Loan,
        ZmqCopy,
        ZmqNoCopy,
        ZenohShm,
        Dora,
        Ecal,
    )
}
