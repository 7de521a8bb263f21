"""A receiver of webhooks in its own process: counts events and says how many came. Prints its port when it listens."""

import asyncio
import sys

from aiohttp import web

_MARK = b'"eventId":'


async def main() -> None:
    count = 0

    async def take(request: web.Request) -> web.Response:
        nonlocal count
        count += (await request.read()).count(_MARK)
        return web.Response(status=204)

    async def say(_request: web.Request) -> web.Response:
        return web.Response(text=str(count))

    app = web.Application(client_max_size=1 << 28)
    app.router.add_post("/", take)
    app.router.add_get("/", say)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
