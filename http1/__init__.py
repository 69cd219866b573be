"""An HTTP/1.1 server for one asyncio application, in the application's own event loop, and a client for its posts.

bytes -> Connection, Reader (llhttp) -> Exchange -> await application(exchange) -> Exchange.respond -> bytes

It knows nothing of pictures. It is here because a request costs it half of what the servers cost that were measured
against it, which parse in another thread or for a general interface (docs/performance.md).
"""

from http1.client import Client, Unreachable
from http1.exchange import Exchange, Header, response_head
from http1.server import Server

__all__ = ["Client", "Exchange", "Header", "Server", "Unreachable", "response_head"]
