"""Throughput, ratios, latency and cost, with what limited them."""
