"""Floor 1: numbers and bytes. SIMD kernels, block formats, the thread pool and the tape.

Nothing here knows a model, a file or a tokenizer.
"""
