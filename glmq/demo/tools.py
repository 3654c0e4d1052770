"""The six tools that the model of `demo-tools` was trained with. All but sums and dice is made up."""

from __future__ import annotations

import random
import zlib
from typing import Any

SKIES = ("sunny", "cloudy", "rainy", "snowy", "windy", "clear")
FINDS = ("The red house has the boat.", "The old garden has the cat.", "The evening bus has the lamp.")


def get_weather(city: str) -> dict[str, Any]:
    """Get the weather of a city."""
    number = _number(city)
    return {"degrees": number % 25 + 10, "sky": SKIES[number // 25 % len(SKIES)]}


def get_time(city: str) -> str:
    """Get the time of a city."""
    return f"{_number(city) % 14 + 10}:{_number(city) // 14 % 50 + 10}"


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def search(query: str) -> str:
    """Search the web."""
    return FINDS[_number(query) % len(FINDS)]


def set_alarm(hour: int, minute: int, label: str) -> str:
    """Set an alarm."""
    return "ok"


def roll_die(sides: int) -> int:
    """Roll a die."""
    return random.randint(1, max(1, sides))


def _number(text: str) -> int:
    """The same number for the same text, in every run."""
    return zlib.crc32(text.strip().lower().encode())
