"""Speculative decoding: guesses of the tokens that follow, which one run checks together."""
