"""The same net on mosec: a Rust front, two Python workers, batches of up to 64. PEER_TUNED=1: the fastest worker."""

import os

from mosec import Server, Worker
from peer_net import Plain, Tuned

TUNED = os.environ.get("PEER_TUNED") == "1"


class Digits(Worker):
    """One worker of mosec's."""

    def __init__(self) -> None:
        self._predict = Tuned() if TUNED else Plain()

    def deserialize(self, data: bytes) -> bytes:
        """The picture in a multipart body; mosec brings no parser for it."""
        boundary = data[: data.find(b"\r\n")]
        return data[data.find(b"\r\n\r\n") + 4 : data.rfind(b"\r\n" + boundary)]

    def forward(self, data: list[bytes]) -> list:
        """The body for each picture of a batch."""
        return self._predict(data)

    def serialize(self, data: object) -> bytes:
        """The bytes of a body."""
        return data if isinstance(data, bytes) else super().serialize(data)


if __name__ == "__main__":
    server = Server()
    server.append_worker(Digits, num=2, max_batch_size=64, max_wait_time=1 if TUNED else 2)
    server.run()
