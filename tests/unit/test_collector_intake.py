"""The collector's HTTP server, spoken to byte by byte."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog.testing

from collector.batches import Batch, read_batch
from collector.intake import Intake, IntakeServer
from collector.journal import Journal
from tests.collector.events import body, event

POST = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


@dataclass
class Client:
    """What the server answers on one connection."""

    port: int
    intake: Intake
    connection: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def send(self, *pieces: bytes) -> None:
        """Each piece reaches the server by itself, or nearly so."""
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            self.connection.sendall(piece)

    def statuses(self) -> list[int]:
        """Of every answer until the server ends the connection."""
        answers = b""
        while data := self.connection.recv(1 << 16):
            answers += data
        return [int(line.split()[1]) for line in answers.split(b"\r\n") if line.startswith(b"HTTP/1.1")]


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    journal = Journal(tmp_path, 1 << 30, 1 << 20, 60.0, pytest.fail)
    return Intake(journal, read_batch, lambda _: None, lambda: {"events": 1})


@pytest.fixture
def client(intake: Intake) -> Iterator[Client]:
    with IntakeServer("127.0.0.1", 0, intake) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        one = Client(server.server_address[1], intake)
        with one.connection:
            yield one
        server.shutdown()
        thread.join()


def last(path: bytes = b"/livez") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_a_request_in_single_bytes_and_one_in_large_pieces(client: Client) -> None:
    small = body([event("a")])
    client.send(*((POST % len(small) + small)[at : at + 1] for at in range(len(POST % len(small) + small))))
    large = body([event(f"b{number}") for number in range(2000)])
    client.send(POST % len(large), large[:10], large[10:100_000], large[100_000:], last())
    assert client.statuses() == [200, 200, 200]
    assert (client.intake.batches, client.intake.events) == (2, 2001)


def test_requests_that_come_at_once_are_answered_in_order(client: Client) -> None:
    batches = [body([event(name)]) for name in ("a", "b", "c")]
    client.send(b"".join(POST % len(batch) + batch for batch in batches) + last(b"/v1/events"))
    assert client.statuses() == [200, 200, 200, 405]
    assert client.intake.events == 3


def test_a_body_in_chunks(client: Client) -> None:
    batch = body([event("a"), event("b")])
    head = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    client.send(head, b"5\r\n" + batch[:5] + b"\r\n", b"%x\r\n" % len(batch[5:]) + batch[5:] + b"\r\n0\r\n\r\n", last(b"/status"))
    assert client.statuses() == [200, 200]
    assert client.intake.events == 2


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (POST % (1 << 40), 413),
        (b"nonsense\r\n\r\n", 400),
        (b"POST /v1/events HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /else HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 404),
        (b"POST /v1/events HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[{", 400),
    ],
)
def test_what_is_refused_is_told_and_the_connection_ends(client: Client, request_bytes: bytes, status: int) -> None:
    client.send(request_bytes)
    assert client.statuses() == [status]


def test_a_body_that_breaks_off_is_not_taken(client: Client) -> None:
    batch = body([event("a")])
    client.send(POST % (len(batch) + 1), batch)
    client.connection.shutdown(socket.SHUT_WR)
    assert client.statuses() == []
    assert client.intake.batches == 0


def test_a_fault_of_ours_is_logged_and_not_called_a_bad_request(client: Client) -> None:
    def broken(_: bytes) -> Batch:
        raise RuntimeError("ours")

    client.intake.read = broken
    with structlog.testing.capture_logs() as logs:
        client.send(POST % 2 + b"[]")
        assert client.statuses() == []
    assert [entry["log_level"] for entry in logs] == ["error"]
