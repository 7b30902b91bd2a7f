//! What a workload says about itself.

use super::Bencher;

/// The figures of a workload that has only one, which needs no name.
pub const ONE_FIGURE: &[&str] = &[""];

/// One workload, compiled for one peer.
pub struct Workload {
    /// The name in options and tables.
    pub name: &'static str,
    /// What one operation is.
    pub op: &'static str,
    /// How many of them an iteration performs.
    pub ops: u32,
    /// Where it comes from.
    pub source: &'static str,
    /// Whether it counts in the mean over "the ten".
    pub of_the_ten: bool,
    /// What is measured, each a row of the table.
    pub figures: &'static [&'static str],
    /// Starts the peer and measures every figure.
    pub run: fn(&mut Bencher),
}

impl Workload {
    /// The name of a figure's row.
    pub(super) fn row(&self, figure: &str) -> String {
        if figure.is_empty() { self.name.to_owned() } else { format!("{} {figure}", self.name) }
    }
}
