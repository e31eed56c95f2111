"""Latency tables: measured on the target, solved into rows, used as a differentiable model."""
