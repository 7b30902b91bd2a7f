//! The middle and the tail of many measurements.

/// The names under which [`Sorted`] is reported.
pub(crate) const P50_AND_P99: &[&str] = &["p50", "p99"];

/// Measurements, the smallest first.
pub(crate) struct Sorted(Vec<u64>);

impl Sorted {
    pub(crate) fn new(mut measured: Vec<u64>) -> Self {
        assert!(!measured.is_empty(), "something was measured");
        measured.sort_unstable();
        Sorted(measured)
    }

    /// The measurement that `percent` of them do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0[rank - 1] as f64
    }
}
