"""An interface of one's own: a room in which whoever enters hears what the others say."""

from pathlib import Path
from typing import Any

import trio

import capenv
from capenv import Request, Servant

chat = capenv.load_schema(Path(__file__).with_name("chat.capnp"))


class Room(Servant):
    interface = chat.Room

    def __init__(self) -> None:
        self.listeners: dict[str, Any] = {}

    def enter(self, request: Request) -> Any:
        name = request.params.name
        self.listeners[name] = request.stub("listener")
        return request.reply(seat=Seat(self, name))


class Seat(Servant):
    interface = chat.Seat

    def __init__(self, room: Room, name: str) -> None:
        self.room, self.name = room, name

    async def say(self, request: Request) -> Any:
        for listener in self.room.listeners.values():
            await listener.hear(name=self.name, text=request.params.text)
        return request.reply(heardBy=len(self.room.listeners))

    def released(self) -> None:
        self.room.listeners.pop(self.name)  # whoever drops the seat has left


class Printer(Servant):
    interface = chat.Listener

    def __init__(self, name: str) -> None:
        self.name = name

    def hear(self, request: Request) -> Any:
        print(f"{self.name} hears {request.params.name}: {request.params.text}")
        return request.reply()


async def main() -> None:
    async with capenv.Vat() as host, capenv.Vat() as guests:
        at = await host.listen(Room(), "capnp://insecure@127.0.0.1:0")
        ann = (await guests.connect(at, chat.Room)).enter(name="Ann", listener=Printer("Ann"))
        bob = (await guests.connect(at, chat.Room)).enter(name="Bob", listener=Printer("Bob"))
        await bob
        # On its way at once, behind the call that gives the seat.
        heard = await ann.seat.say(text="hello")
        print(f"heard by {heard.heardBy}")


if __name__ == "__main__":
    trio.run(main)
