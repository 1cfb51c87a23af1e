//! HTTP, SSE and the command line over the engine.
