//! The server: HTTP surfaces, ingestion, the guard's loop.
