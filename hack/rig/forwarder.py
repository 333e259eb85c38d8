"""Carries connections from the host's loopback to the API server: ``python -m rig.forwarder FD ADDRESS PORT``.

A listening socket belongs to the network namespace where it was made, whoever accepts from it. The host makes it on
its loopback and hands it down; this program accepts from it and connects inside the node. Nothing of the host's
network is touched.
"""

import asyncio
import socket
import sys
from contextlib import suppress

_CHUNK_BYTES = 1 << 16


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()


async def forward(listener: socket.socket, address: str, port: int) -> None:
    """Accept until cancelled."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection(address, port)
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
            inner_writer.close()
        except OSError:
            pass  # The API server is not there just now: the caller sees a closed connection.
        finally:
            writer.close()

    server = await asyncio.start_server(carry, sock=listener)
    await server.serve_forever()


if __name__ == "__main__":
    descriptor, target, number = sys.argv[1:]
    asyncio.run(forward(socket.socket(fileno=int(descriptor)), target, int(number)))
