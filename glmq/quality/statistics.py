"""Means of many values, with their standard errors and their spread."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

PERCENTS = (99.9, 99.0, 95.0, 90.0, 10.0, 5.0, 1.0, 0.1)


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error."""

    value: float
    error: float


@dataclass(frozen=True)
class Spread:
    """Median, extremes, and the percentiles of PERCENTS, by linear interpolation."""

    median: float
    most: float
    least: float
    percentiles: dict[float, float]

    @classmethod
    def of(cls, values: np.ndarray) -> Spread:
        """Of float64 (n,)."""
        found = np.percentile(values, PERCENTS)
        return cls(
            float(np.median(values)),
            float(values.max()),
            float(values.min()),
            dict(zip(PERCENTS, found.tolist(), strict=True)),
        )


def estimate(values: np.ndarray) -> Estimate:
    """The mean of float64 (n,); its error is not known (NaN) of one alone."""
    error = math.sqrt(values.var() / (len(values) - 1)) if len(values) > 1 else math.nan
    return Estimate(float(values.mean()), error)


def share(hits: np.ndarray) -> Estimate:
    """How often bool (n,) are true."""
    return estimate(hits.astype(np.float64))


def covariance(one: np.ndarray, other: np.ndarray) -> float:
    """Of the means of two float64 (n,)."""
    if len(one) < 2:
        return math.nan
    return float(((one * other).mean() - one.mean() * other.mean()) / (len(one) - 1))
