//! Other libraries on this runtime, through the hooks that they offer.

pub mod hyper;
