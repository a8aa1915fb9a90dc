//! The store port, its backends, and the event log.
