"""Benchmarks: `python -m bench NAME` from the tree's root. They need the real servers of testbed/; no test runs them.

Each measures the product as it is run, beside a plain client that writes the same bytes in the same run, and tells its
figures with their goals. How they are made and what was seen: docs/performance.md.
"""
