"""Whether and how a model would run on this machine, told from its headers without loading it.

model_source    where the headers come from: a file here, or on the Hub
memory          the loader's own plan of memory, and what it is spent on
figures         what is said of a machine: seconds of a weight, a position, a step; bytes in a second
speeds          the figures of this machine, measured when they are asked for and kept
measuring       measuring them: products of each tensor type, attention, a step
disk_speed      measuring the disk that a file is on
routing         how often a token's experts are found in memory
timing          from a program's work and the machine's speeds to tokens per second
forecast        all of it together
next_steps      what would let the model run, or run better
"""
