//! Catalogue, evidence and rollouts as state machines that decide and never do.
