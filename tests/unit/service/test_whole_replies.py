"""Head and body of a response leave in one piece, and nothing that was written stays behind."""

import asyncio
from typing import Any

import pytest

from tenant_security.service.whole_replies import WholeReplies


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def write(self, data: Any) -> None:
        self.pieces.append(bytes(data))

    def close(self) -> None:
        self.pieces.append(b"<closed>")

    def is_closing(self) -> bool:
        return b"<closed>" in self.pieces


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def replies(wire: Wire) -> WholeReplies:
    return WholeReplies(wire)


def test_the_head_waits_for_the_first_piece_of_the_body(wire: Wire, replies: WholeReplies) -> None:
    replies.write(HEAD)
    assert wire.pieces == []
    replies.write(b"bo")
    replies.write(b"dy")
    assert wire.pieces == [HEAD + b"bo", b"dy"]


def test_an_answer_without_a_body_leaves_when_it_is_over(wire: Wire, replies: WholeReplies) -> None:
    replies.write(HEAD)
    replies.finish()
    assert wire.pieces == [HEAD]


def test_each_answer_of_a_connection_begins_with_its_own_head(wire: Wire, replies: WholeReplies) -> None:
    for _ in range(2):
        replies.write(HEAD)
        replies.write(b"body")
        replies.finish()
    assert wire.pieces == [HEAD + b"body"] * 2


def test_an_interim_answer_does_not_wait(wire: Wire, replies: WholeReplies) -> None:
    replies.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    replies.write(HEAD)
    replies.write(b"body")
    assert wire.pieces == [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD + b"body"]


def test_an_answer_that_breaks_off_shows_how_far_it_came(wire: Wire, replies: WholeReplies) -> None:
    replies.write(HEAD)
    replies.close()
    assert wire.pieces == [HEAD, b"<closed>"]
    assert replies.is_closing()


def test_a_body_that_looks_like_a_head_is_a_body(wire: Wire, replies: WholeReplies) -> None:
    replies.write(HEAD)
    replies.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert wire.pieces == [HEAD + b"HTTP/1.1 100 Continue\r\n\r\n"]
