"""What tests of Waypost and of its adapters stand on; nothing of the running product imports it.

    virtual               an event loop on virtual time, and its clock
    context               TestContext: what an adapter is given, under the test's control
    changes               Recorder: what a source said, and the view that follows from it
    memory                MemorySource, MemorySink, SharedTarget, ScriptedElector: whole adapters in memory, with faults
    conformance_source    SourceConformance: subclass it and get the tests that every source passes
    conformance_sink      SinkConformance: the same for sinks
    conformance_elector   ElectorConformance: the same for electors; memory_elector has an election in memory

The conformance suites need pytest; the rest needs nothing but Waypost.
"""
