"""Models larger than memory: which routed experts are in memory, and how the others get there.

offloaded_experts  what the model sees of it: set up, described, warmed, closed
placement          what a budget of memory is spent on
expert_layer       a layer's experts in files and in memory, and their sections of the tape
expert_cache       which expert gives way to which
slab               the memory they lie in
disk               the files, read past the system's cache
fetching           experts on their way into slots
offload            a batch's way through the layers: asking for experts, computing with those that are there
profile            what was used most, kept for the next start
statistics         how well it went
trace              which experts were chosen, recorded
"""
