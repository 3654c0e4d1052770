"""What a server has done, counted, for Prometheus: with llama-server's names where it has the same figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .answer_events import Finished

if TYPE_CHECKING:
    from prometheus_client import Metric

    from ..kv_cache.cache_statistics import CacheStatistics
    from .admission import Admission


@dataclass
class Metrics:
    """Sums over all requests and answers."""

    n_answers: int = 0
    n_prompt: int = 0
    n_cached: int = 0
    prompt_seconds: float = 0.0
    n_predicted: int = 0
    predicted_seconds: float = 0.0
    n_drafted: int = 0
    n_accepted: int = 0
    saved_seconds: float = 0.0
    most_tokens: int = 0
    n_requests: int = 0
    n_refused: int = 0

    def count_request(self, status: int) -> None:
        """Take a request's end in."""
        self.n_requests += 1
        self.n_refused += status >= 400

    def count(self, finished: Finished) -> None:
        """Take an answer in."""
        timings = finished.timings
        self.n_answers += 1
        self.n_prompt += timings.n_prompt
        self.n_cached += timings.n_cached
        self.prompt_seconds += timings.prompt_seconds
        self.n_predicted += timings.n_generated
        self.predicted_seconds += timings.decode_seconds
        self.n_drafted += timings.n_drafted
        self.n_accepted += timings.n_accepted
        self.saved_seconds += timings.saved_seconds
        n_tokens = timings.n_cached + timings.n_prompt + timings.n_generated
        self.most_tokens = max(self.most_tokens, n_tokens)

    def text(self, admission: Admission, cache: CacheStatistics) -> bytes:
        """All figures in Prometheus's text format."""
        from prometheus_client import generate_latest
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        counters = {
            "prompt_tokens": ("Tokens of prompts evaluated.", self.n_prompt),
            "prompt_tokens_cached": ("Tokens of prompts used again.", self.n_cached),
            "prompt_seconds": ("Seconds of reading prompts.", self.prompt_seconds),
            "tokens_predicted": ("Tokens generated.", self.n_predicted),
            "tokens_predicted_seconds": ("Seconds of generating.", self.predicted_seconds),
            "spec_decode_num_draft_tokens": ("Guessed tokens that were checked.", self.n_drafted),
            "spec_decode_num_accepted_tokens": ("Guessed tokens that came true.", self.n_accepted),
            "answers": ("Answers that ended, whether wanted or not.", self.n_answers),
            "kv_cache_tokens_returned": (
                "Tokens whose pages came back from the disk.",
                cache.n_returned * cache.page_positions,
            ),
            "http_requests": ("Requests.", self.n_requests),
            "http_requests_refused": ("Requests answered with an error.", self.n_refused),
        }
        gauges = {
            "prompt_tokens_seconds": (
                "Tokens of prompts read per second.",
                self.n_prompt / self.prompt_seconds if self.prompt_seconds else 0.0,
            ),
            "predicted_tokens_seconds": (
                "Tokens generated per second of an answer.",
                self.n_predicted / self.predicted_seconds if self.predicted_seconds else 0.0,
            ),
            "spec_decode_gain": (
                "How many times as fast as without guessed tokens answers were generated, about.",
                1 + self.saved_seconds / self.predicted_seconds if self.predicted_seconds else 1.0,
            ),
            "requests_processing": ("Answers being generated.", admission.n_busy),
            "requests_deferred": ("Answers that wait.", admission.n_waiting),
            "n_tokens_max": ("Most tokens that an answer had with its prompt.", self.most_tokens),
            "kv_cache_usage_ratio": (
                "Share of the KV cache that answers hold.",
                cache.n_used / cache.n_pages,
            ),
            "kv_cache_tokens": ("Tokens for which they hold pages.", cache.n_used * cache.page_positions),
            "kv_cache_disk_tokens": (
                "Tokens whose pages are on the disk alone.",
                cache.n_on_disk * cache.page_positions,
            ),
            "kv_cache_disk_bytes": ("Disk space of pages.", cache.disk_bytes),
        }
        figures = _Figures(
            [
                *(CounterMetricFamily(f"llamacpp:{name}", *each) for name, each in counters.items()),
                *(GaugeMetricFamily(f"llamacpp:{name}", *each) for name, each in gauges.items()),
            ]
        )
        return generate_latest(figures)


@dataclass(frozen=True)
class _Figures:
    """What is asked for figures, as Prometheus's registries are."""

    families: list[Metric]

    def collect(self) -> list[Metric]:
        """All figures."""
        return self.families
