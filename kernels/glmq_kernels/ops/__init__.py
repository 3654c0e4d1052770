"""The operations of a forward pass: each with its argument record, the builder and the kernel."""
