"""Models larger than memory: which routed experts are in memory, and how the others get there.

plan        how much memory there is, and what it is best used for
policy      which expert gives way to which
slab        the memory they lie in
residency   a batch's way through the layers: asking for experts, computing with those that are there
profile     what was used most, kept for the next start
statistics  how well it went
"""
