//! The evidence engine against small worlds: what is harm is found, what is not is left alone, and the same
//! log always gives the same bits.

mod kit;
mod methods;
mod same_bits;
mod tables;
