"""Several conversations at once on an event loop: python examples/asyncio_chat.py [MODEL [SECONDS]]

Their tokens are evaluated together. One of them gets a time limit, and can go on afterwards.
"""

from __future__ import annotations

import asyncio
import sys

import glmq

QUESTIONS = {
    "ada": ("Why is the sky blue?", "And at sunset?"),
    "bob": ("Name three rivers.", "Which is the longest?"),
}


async def talk(model: glmq.Model, name: str, questions: tuple[str, ...]) -> None:
    """Ask one question after another, and print the answers as they are complete."""
    with model.conversation("Be brief.", options=glmq.ChatOptions(max_tokens=60)) as chat:
        for question in questions:
            text = ""
            async for event in chat.asend(question):
                if isinstance(event, glmq.ContentText):
                    text += event.text
            print(f"{name}: {question}\n  {text.strip()}")


async def hurry(model: glmq.Model, seconds: float) -> None:
    """Cancel an answer that takes too long; what is there of it stays in the conversation."""
    with model.conversation() as chat:
        turn = chat.send("Tell me a very long story.")
        try:
            await asyncio.wait_for(turn.arun(), seconds)
        except asyncio.TimeoutError:
            print(f"hurry: stopped after {turn.usage.completion_tokens} tokens")
        print(f"hurry: {await chat.send('Then say hello.').arun()}")


async def main(model_name: str = "demo", seconds: str = "1") -> None:
    """Load the model and hold all conversations."""
    with await glmq.aload(model_name) as model:
        talks = [talk(model, name, questions) for name, questions in QUESTIONS.items()]
        await asyncio.gather(*talks, hurry(model, float(seconds)))


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except glmq.GlmqError as error:
        sys.exit(f"error: {error}")
