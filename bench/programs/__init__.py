"""Programs that a benchmark runs beside the product, each in a process of its own so that nothing shares an event loop.

Those that are asked something take a line of JSON a question, and answer in a line of JSON.
"""
