"""Health checks: whether an instance answers, as Waypost itself finds out.

    check      what is checked and how, and what one check found
    subject    rise and fall: from findings to a verdict
    ward       panic: when so many fail that the checks are in doubt
    schedule   which check is due when
    checker    runs the checks, so many at once and no more
    probes     the checks themselves: the only module with sockets

Knows nothing of manifests, sinks or the engine: who wants something checked subscribes to it, and is told each finding.
Nothing that is checked is a task, a timer or a lock.
"""
