//! Blocks, flows, scopes and items over the log.
