"""What the KV cache tells of itself."""

from __future__ import annotations

from dataclasses import dataclass

from ..memory_plan import show_size


@dataclass(frozen=True)
class CacheStatistics:
    """What the pages of a model's KV cache are doing, and how often the prefix tree helped.

    n_pages: the most there may be, each of `page_positions` positions and `page_bytes` bytes. n_used: held
    by sequences. n_cached: held by the prefix tree, n_idle of them by nothing else. n_bytes: memory taken
    from the system. n_tokens: those that sequences asked the tree for; n_hits: of these found.
    n_reclaimed: cached pages that had to go, and are nowhere any more.

    n_on_disk: pages that are on the disk alone. disk_bytes: of the disk, that pages take, of at most
    max_disk_bytes (0: none). n_written: pages that were written there; n_returned: that came back; n_lost:
    that could not be read. disk_problem: what has gone wrong with the disk last; empty for nothing.
    """

    n_pages: int
    page_positions: int
    page_bytes: int
    n_used: int
    n_cached: int
    n_idle: int
    n_bytes: int
    n_tokens: int
    n_hits: int
    n_reclaimed: int
    n_on_disk: int = 0
    disk_bytes: int = 0
    max_disk_bytes: int = 0
    n_written: int = 0
    n_returned: int = 0
    n_lost: int = 0
    disk_problem: str = ""

    def line(self) -> str:
        """For people to read."""
        used, idle, most = (show_size(n * self.page_bytes) for n in (self.n_used, self.n_idle, self.n_pages))
        found = f"; {self.n_hits:,} of {self.n_tokens:,} tokens were found in it" if self.n_tokens else ""
        return f"KV cache: {used} in use and {idle} kept for later, of at most {most}{found}.{self._disk()}"

    def _disk(self) -> str:
        if not self.max_disk_bytes:
            return ""
        alone, returned = (show_size(n * self.page_bytes) for n in (self.n_on_disk, self.n_returned))
        problem = f" {self.disk_problem}." if self.disk_problem else ""
        return (
            f" {alone} more are on disk, which may have {show_size(self.max_disk_bytes)};"
            f" {returned} came back so far.{problem}"
        )
