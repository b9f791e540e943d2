"""lib.kernels: no reply of a kernel goes unnoticed."""

import asyncio
import time

import zmq
import zmq.asyncio
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.session import Session

from lib import kernels


async def noticed(channel_class):
    """Whether a reply that has come when the other side sends something, and awaits a reply already, is noticed."""
    context, session = zmq.asyncio.Context(), Session(key=b"a")
    ours, theirs = context.socket(zmq.DEALER), zmq.Context.shadow(context.underlying).socket(zmq.ROUTER)
    with context, ours, theirs:
        ours.connect(f"tcp://127.0.0.1:{theirs.bind_to_random_port('tcp://127.0.0.1')}")
        channel = channel_class(ours, session)
        channel.send(session.msg("execute_request"))
        address = await asyncio.to_thread(theirs.recv_multipart)
        reply = asyncio.ensure_future(channel.get_msg())
        await asyncio.sleep(0.2)  # it waits now
        session.send(theirs, "execute_reply", ident=address[0])
        time.sleep(0.2)  # not asyncio's: the reply has come, and the loop does not know
        channel.send(session.msg("comm_msg"))
        done, _ = await asyncio.wait([reply], timeout=2)
        reply.cancel()
        return bool(done) and reply.result()["msg_type"] == "execute_reply"


def test_a_reply_that_comes_while_something_is_sent_is_noticed():
    assert asyncio.run(noticed(kernels.Channel))


def test_it_takes_a_channel_of_our_own():
    """The day on which this fails, lib.kernels.Channel can go."""
    assert not asyncio.run(noticed(AsyncZMQSocketChannel))
