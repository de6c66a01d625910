"""ZeroMQ: pyzmq's PUSH and PULL with zero copy, and imagezmq's REQ and REP.

Both are extras: a benchmark leaves out what is not installed.
"""

from collections.abc import Sequence

import imagezmq
import numpy as np
import zmq

from benchmarks.peer_work import Array, Message, Shape

_ANSWER = b"\0" * 16
_LOOPBACK = "tcp://127.0.0.1"


class ZmqDevice:
    """The sending end: messages on PUSH, answers on PULL; each socket belongs to one thread.

    Args:
        port: Where the cloud takes messages; it gives answers at the next port that it names first.
    """

    def __init__(self, port: int) -> None:
        self._context = zmq.Context()
        self._messages = self._context.socket(zmq.PUSH)
        self._messages.connect(f"{_LOOPBACK}:{port}")
        self._answers = self._context.socket(zmq.PULL)
        self._answer_port = self._answers.bind_to_random_port(_LOOPBACK)
        self._messages.send(str(self._answer_port).encode())

    def send(self, message: Message) -> None:
        """Hand a message to ZeroMQ, which sends from the arrays' own memory."""
        header = np.float64(message.time_s).tobytes()
        self._messages.send_multipart([header, *message.arrays], copy=False)

    def receive_answer(self) -> None:
        """Wait for one answer."""
        self._answers.recv()

    def close(self) -> None:
        """Say that this was all."""
        self._messages.send(b"")
        self._messages.close()
        self._answers.close()
        self._context.term()


class ZmqCloud:
    """The receiving end.

    Args:
        shapes: What each message holds, all uint8.
    """

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self._shapes = shapes
        self._context = zmq.Context()
        self._messages = self._context.socket(zmq.PULL)
        self.port = int(self._messages.bind_to_random_port(_LOOPBACK))
        self._answers = self._context.socket(zmq.PUSH)
        self._is_connected = False

    def receive(self) -> Message | None:
        """Wait for one message; None when there are no more."""
        if not self._is_connected:
            self._answers.connect(f"{_LOOPBACK}:{int(self._messages.recv())}")
            self._is_connected = True
        header, *parts = self._messages.recv_multipart(copy=False)
        if len(header) == 0:
            return None
        arrays: list[Array] = [
            np.frombuffer(part.buffer, np.uint8).reshape(shape)
            for part, shape in zip(parts, self._shapes, strict=True)
        ]
        return Message(time_s=float(np.frombuffer(header.buffer)[0]), arrays=arrays)

    def answer(self) -> None:
        """Answer a message."""
        self._answers.send(_ANSWER)

    def close(self) -> None:
        """Close the sockets."""
        self._messages.close()
        self._answers.close()
        self._context.term()


class ImageZmqDevice:
    """The asking end: one picture at a time, as its REQ socket wants it.

    Args:
        port: Where the hub is.
    """

    def __init__(self, port: int) -> None:
        self._sender = imagezmq.ImageSender(connect_to=f"{_LOOPBACK}:{port}")

    def send(self, message: Message) -> None:
        """Send one picture and wait for the answer: imagezmq does both in one call."""
        (picture,) = message.arrays
        self._sender.send_image(str(message.time_s), picture)

    def receive_answer(self) -> None:
        """Do nothing: the answer is here when ``send`` returns."""

    def close(self) -> None:
        """Say that this was all."""
        self._sender.send_image("end", np.zeros((1, 1), np.uint8))
        self._sender.close()


class ImageZmqCloud:
    """The answering end, a hub."""

    def __init__(self, _shapes: Sequence[Shape]) -> None:
        self._hub = imagezmq.ImageHub(open_port=f"{_LOOPBACK}:*")
        endpoint = self._hub.zmq_socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.port = int(endpoint.rsplit(":", 1)[1])

    def receive(self) -> Message | None:
        """Wait for one picture; None when there are no more."""
        text, picture = self._hub.recv_image()
        if text == "end":
            self._hub.send_reply(_ANSWER)
            return None
        return Message(time_s=float(text), arrays=[picture])

    def answer(self) -> None:
        """Answer the picture that came last."""
        self._hub.send_reply(_ANSWER)

    def close(self) -> None:
        """Close the socket."""
        self._hub.close()
