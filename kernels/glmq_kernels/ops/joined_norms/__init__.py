"""The operation: arguments, builder, kernel."""
