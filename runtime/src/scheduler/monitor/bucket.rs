//! A limit on how often something happens: a token bucket.

use std::time::{Duration, Instant};

/// How often something may still happen.
#[derive(Debug)]
pub(super) struct Bucket {
    /// A new token comes after each such time.
    every: Duration,
    /// So many are kept.
    most: u32,
    left: u32,
    filled: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(every: Duration, most: u32) -> Self {
        Bucket { every, most, left: most, filled: Instant::now() }
    }

    /// True if it may happen once more, now.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let new = now.saturating_duration_since(self.filled).as_nanos() / self.every.as_nanos();
        if new > 0 {
            self.left = self.left.saturating_add(u32::try_from(new).unwrap_or(u32::MAX)).min(self.most);
            self.filled = now;
        }
        let any = self.left > 0;
        self.left -= u32::from(any);
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_what_was_saved_up_and_then_one_in_each_time() {
        const EVERY: Duration = Duration::from_secs(1);
        let mut bucket = Bucket::new(EVERY, 3);
        let begin = bucket.filled;
        let taken = |bucket: &mut Bucket, at| (0..5).filter(|_| bucket.take(begin + at)).count();
        assert_eq!(taken(&mut bucket, Duration::ZERO), 3);
        assert_eq!(taken(&mut bucket, EVERY / 2), 0);
        assert_eq!(taken(&mut bucket, EVERY), 1);
        assert_eq!(taken(&mut bucket, 100 * EVERY), 3);
    }
}
