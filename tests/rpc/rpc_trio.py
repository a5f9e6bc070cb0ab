"""Running async tests: the clock jumps, and a hang ends."""

from collections.abc import Awaitable, Callable
from typing import Any

import trio
import trio.testing


def running(test: Callable[..., Awaitable[None]], *arguments: Any) -> None:
    """Run an async test; the clock jumps, so that nothing waits in earnest, and a hang ends."""

    async def bounded() -> None:
        with trio.fail_after(1000):
            await test(*arguments)

    trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0.05))


def trio_test(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        running(test)

    run.__name__ = test.__name__
    return run
