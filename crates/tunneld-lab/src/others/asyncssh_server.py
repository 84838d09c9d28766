"""An AsyncSSH server that forwards everything: ADDRESS PORT PASSWORD AUTHORIZED_KEYS HOST_KEY…"""

import asyncio
import sys

import asyncssh

address, port, password, authorized, *host_keys = sys.argv[1:]


class Server(asyncssh.SSHServer):
    def password_auth_supported(self):
        return True

    def validate_password(self, username, given):
        return given == password

    def connection_requested(self, *place):
        return True

    def server_requested(self, *place):
        return True

    def unix_connection_requested(self, *place):
        return True

    def unix_server_requested(self, *place):
        return True


async def main():
    await asyncssh.listen(
        address,
        int(port),
        server_factory=Server,
        server_host_keys=host_keys,
        send_server_host_keys=True,
        authorized_client_keys=authorized,
    )
    print("listening", flush=True)
    await asyncio.Future()


asyncio.run(main())
