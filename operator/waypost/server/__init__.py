"""The admin server: probes, metrics, and what people ask and decide, over HTTP. It knows the engine, no adapter."""
