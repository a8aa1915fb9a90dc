//! The statistics of the guard: e-processes, sketches and mergeable summaries. No I/O.
