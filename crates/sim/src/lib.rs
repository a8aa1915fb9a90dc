//! Development only: simulation of whole rollouts from one seed.
