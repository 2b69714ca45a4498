"""A name server on loopback that knows the text records it was told, and falls silent when asked to."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


@dataclass
class Nameserver:
    """records: name -> text records. A name that is not there does not exist."""

    records: dict[str, list[str]] = field(default_factory=dict)
    is_broken: bool = False  # answers that it cannot answer
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def answer(self, question: bytes) -> bytes:
        query = dns.message.from_wire(question)
        name = query.question[0].name.to_text(omit_final_dot=True).lower()
        self.asked.append(name)
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        if self.is_broken:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif name not in self.records:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif query.question[0].rdtype == dns.rdatatype.TXT and self.records[name]:
            texts = [
                " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255)) for text in self.records[name]
            ]
            reply.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "TXT", *texts))
        return reply.to_wire()


@contextmanager
def running_nameserver() -> Iterator[Nameserver]:
    server = Nameserver()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        server.port = listening.getsockname()[1]
        thread = threading.Thread(target=_serve, args=(listening, server), daemon=True)
        thread.start()
        yield server
        # An empty datagram is the word to stop.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stopping:
            stopping.sendto(b"", listening.getsockname())
        thread.join()


def _serve(listening: socket.socket, server: Nameserver) -> None:
    while True:
        question, asker = listening.recvfrom(4096)
        if not question:
            return
        listening.sendto(server.answer(question), asker)
