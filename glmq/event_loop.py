"""What takes its time runs in a thread of its own, and an event loop (asyncio) is told what comes of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Future, wait
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

Item = TypeVar("Item")
Question = TypeVar("Question")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

POLL_SECONDS = 0.05
"""How often a thread that waits for the event loop looks whether it shall go on waiting."""


def call_in_loop(
    loop: asyncio.AbstractEventLoop, function: Callable[..., object], *arguments: object
) -> bool:
    """Have an event loop call a function soon, from any thread. False: the loop is closed."""
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        return False
    return True


def told_in_loop(function: Callable[Arguments, object]) -> Callable[Arguments, None]:
    """A function that has the event loop that runs here call `function` soon, from any thread."""
    loop = asyncio.get_running_loop()

    def tell(*args: Arguments.args, **named: Arguments.kwargs) -> None:
        call_in_loop(loop, partial(function, *args, **named))

    return tell


def asked_in_loop(
    function: Callable[[Question], Result | Awaitable[Result]],
) -> Callable[[Callable[[], bool], Result, Question], Result]:
    """A function `ask(is_cancelled, instead, question)` for other threads.

    The event loop that runs here calls `function`, which may be async, and `ask` waits for what it gives;
    when it is cancelled meanwhile it gives `instead`.
    """
    loop = asyncio.get_running_loop()

    async def call(question: Question) -> Result:
        result = function(question)
        return await result if isinstance(result, Awaitable) else result

    def ask(is_cancelled: Callable[[], bool], instead: Result, question: Question) -> Result:
        answer = asyncio.run_coroutine_threadsafe(call(question), loop)
        while not is_cancelled():
            done, _ = wait([answer], POLL_SECONDS)
            if done:
                return answer.result()
        answer.cancel()
        return instead

    return ask


async def in_thread(
    work: Callable[[], Result], discard: Callable[[Result], object] = lambda result: None
) -> Result:
    """What `work` gives, from a thread of its own.

    Cancelling the task does not end the work; `discard` then gets what comes of it.
    """
    future: Future[Result] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    def discard_result(future: Future[Result]) -> None:
        if future.exception() is None:
            discard(future.result())

    _start(run)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        future.add_done_callback(discard_result)
        raise


@dataclass(frozen=True)
class _Ended:
    error: BaseException | None = None


async def from_thread(
    run: Callable[[Callable[[Item], None]], object], cancel: Callable[[], object]
) -> AsyncGenerator[Item, None]:
    """What `run(post)` posts from a thread of its own, as it comes; then what it raises, if anything.

    Leaving it, or cancelling the task, calls `cancel` and waits until `run` has returned.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Item | _Ended] = asyncio.Queue()

    def post(item: Item | _Ended) -> None:
        if not call_in_loop(loop, queue.put_nowait, item):
            cancel()

    def work() -> None:
        try:
            run(post)
        except BaseException as error:
            post(_Ended(error))
        else:
            post(_Ended())

    _start(work)
    try:
        while not isinstance(item := await queue.get(), _Ended):
            yield item
    except BaseException:
        cancel()
        while not loop.is_closed() and not isinstance(await queue.get(), _Ended):
            pass
        raise
    if item.error is not None:
        raise item.error


def _start(work: Callable[[], None]) -> None:
    """Run it in a thread, with the context variables of here, that does not keep the program from ending."""
    context = copy_context()
    threading.Thread(target=context.run, args=(work,), name="glmq-answer", daemon=True).start()
