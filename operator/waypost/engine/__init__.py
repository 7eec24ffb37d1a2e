"""The way of the data, from what runs to what is registered.

One module a step, one path for every cause of change:

  Source.watch() ─► catalog ─► match ─► publish ─► Sink.render() ─► desired ┐
                      ▲ doubt    ▲ settings ▲ verdicts                      ├─► plan ─► policy ─► writer ─► Sink.apply()
                      │          │          │       Sink.observe() ─► ledger┘  (diff)   (budgets,   │
                   sources    settings    health                      ▲                 holds)      │
                                                                      └──── applied, unknown ◄──────┴─► status, changes

A source's change, an edited manifest, a verdict, a resync and a lost write do no more than mark (publication, instance)
as dirty in the sinks concerned (`sinks`); everything after the mark is the same code, and costs in proportion to what
is dirty.
"""
