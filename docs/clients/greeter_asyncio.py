# Beside it: micro sidecar        (this app registers itself; pip install aiohttp)
import asyncio, os, signal

from aiohttp import ClientError, ClientSession, web

SIDECAR, PORT = os.environ.get("SIDECAR", "127.0.0.1:8081"), int(os.environ.get("PORT", "9090"))
NODE = {"id": "greeter-asyncio-1", "address": "127.0.0.1", "port": PORT, "metadata": {"protocol": "http"}}
SERVICE = {"name": "greeter", "nodes": [NODE]}


async def main():
    async with ClientSession(f"http://{SIDECAR}", raise_for_status=True) as sidecar:

        async def hello(request):  # what others call as Say.Hello
            message = f"Hello {(await request.json())['name']}"
            await sidecar.post("/broker?topic=greetings", data=message.encode())  # publish
            return web.json_response({"msg": message})

        async def ask(request):  # calls a service, itself as it happens
            call = {"service": "greeter", "method": "Say.Hello", "request": await request.json()}
            async with sidecar.post("/rpc", json=call) as answer:
                return web.json_response(await answer.json())

        async def stay_registered():
            while True:  # vanishes 30 s after we stop renewing, should we crash
                try:
                    await sidecar.post("/registry?ttl=30s", json=SERVICE)
                except ClientError as error:
                    print("not registered:", error, flush=True)
                await asyncio.sleep(10)

        async def listen():
            while True:
                try:
                    async with sidecar.ws_connect("/broker?topic=greetings&format=text") as topic:
                        async for message in topic:
                            print("heard:", message.data, flush=True)
                except ClientError as error:
                    print("not subscribed:", error, flush=True)
                await asyncio.sleep(1)

        app = web.Application()
        app.add_routes([web.post("/Say/Hello", hello), web.post("/Say/Ask", ask)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", PORT).start()
        work = [asyncio.create_task(stay_registered()), asyncio.create_task(listen())]
        told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
        await told.wait()
        await sidecar.delete("/registry", json=SERVICE)  # first, so that nobody calls us any more
        for each in work:
            each.cancel()
        await runner.cleanup()  # finishes what is under way


asyncio.run(main())
