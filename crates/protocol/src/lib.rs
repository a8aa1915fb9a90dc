//! The bytes of other systems to core types and back, one module each.
