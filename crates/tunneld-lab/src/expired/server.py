# An SSH server that takes a password, and then wants another one (SSH_MSG_USERAUTH_PASSWD_CHANGEREQ,
# RFC 4252 section 8): `server.py ADDRESS PORT HOSTKEY`. It says so when it listens, and when
# it asks.
import asyncio
import sys

import asyncssh


class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return True

    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        print("asks for another password", flush=True)
        raise asyncssh.PasswordChangeRequired("your password has expired")


async def main():
    address, port, host_key = sys.argv[1:]
    keys = [host_key]
    server = await asyncssh.create_server(
        Server, address, int(port), server_host_keys=keys, reuse_address=True
    )
    print("listens", flush=True)
    await server.wait_closed()


asyncio.run(main())
