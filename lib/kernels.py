"""The kernels that papermill executes notebooks in, as the report wants them."""

from jupyter_client import AsyncKernelManager
from jupyter_client.channels import AsyncZMQSocketChannel


class Channel(AsyncZMQSocketChannel):
    """The channel on which cells go to a kernel and replies come back, safe to send on while one awaits a reply.

    nbclient does so where a widget takes a cell's output, and the channel that it uses sends past asyncio. A ZeroMQ
    socket tells of what has come by a descriptor that fires once, and whatever is done with the socket takes that as
    read: a reply that comes just then is never noticed, and the cell never ends
    (https://github.com/jupyter/nbclient/issues/312). The socket's own send, asyncio's, looks for replies afterwards.
    """

    def send(self, msg):
        self.socket.send_multipart(self.session.serialize(msg))


def manager(variables, log):
    """The class of kernel managers whose kernels get these environment variables and write their stderr into `log`, a
    binary file: TensorFlow's notes at its start are not for the terminal."""

    class Manager(AsyncKernelManager):
        async def start_kernel(self, **options):
            # nobody else on this machine is to listen in
            return await super().start_kernel(**options, env=variables, stderr=log, transport_encryption="auto")

        def client(self, **options):
            client = super().client(**options)
            client.shell_channel_class = Channel
            return client

    return Manager
