# Connects every 10 ms, to each of these in turn: port, file, socks, web. Each connection has to carry a
# line and its echo. Meanwhile it runs a command, and waits for another one to succeed. Prints what became
# of them; a connection that began before the command was done may be cut, if that is what it does.
#
#     clients.py COMMAND UNTIL KIND...
import asyncio, json, sys, time

refused, cut, late, count, waits, echoes = [], [], [], 0, [], []
happened_at = None

async def echo(kind, reader, writer):
    if kind == "socks":
        writer.write(b"\5\1\0\5\1\0\1\x7f\0\0\1" + (9001).to_bytes(2, "big"))
        assert (await reader.readexactly(12))[:4] == b"\5\0\5\0"
    writer.write(b"hello\n")
    assert await reader.readexactly(6) == b"hello\n"

async def client(kind):
    global count
    began = time.monotonic()
    try:
        if kind == "file":
            reader, writer = await asyncio.open_unix_connection("/run/tunneld/db.sock")
        else:
            port = {"port": 5432, "socks": 1080, "web": 5500}[kind]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as e:
        return refused.append((kind, str(e)))
    waits.append(time.monotonic() - began)
    try:
        await asyncio.wait_for(echo(kind, reader, writer), 60)
    except Exception as e:
        (cut if happened_at is None or began < happened_at else late).append((kind, repr(e)))
    else:
        echoes.append(time.monotonic() - began)
        count += 1
    writer.close()

async def shell(command):
    process = await asyncio.create_subprocess_shell(command)
    return await process.wait()

async def happen():
    global happened_at
    while count < 40:
        await asyncio.sleep(0.01)
    assert await shell(sys.argv[1]) == 0
    happened_at = time.monotonic()
    while await shell(sys.argv[2]) != 0:
        await asyncio.sleep(0.1)
    enough = count + 40
    while count < enough:
        await asyncio.sleep(0.01)

async def main():
    happening = asyncio.create_task(happen())
    clients, kinds = set(), sys.argv[3:]
    begun = 0
    while not happening.done():
        task = asyncio.create_task(client(kinds[begun % len(kinds)]))
        clients.add(task)
        task.add_done_callback(clients.discard)
        begun += 1
        await asyncio.sleep(0.01)
    await happening
    await asyncio.gather(*clients)
    slowest = lambda seconds: round(max(seconds), 3)
    print(json.dumps({"begun": begun, "echoed": count, "refused": refused, "cut": cut, "late": late,
                      "slowest_connect": slowest(waits), "slowest_echo": slowest(echoes)}))

asyncio.run(asyncio.wait_for(main(), 300))
