//! In which order those who take turns come.

/// Orders that look random, and are the same in each run.
pub(super) struct Order(u64);

impl Order {
    pub(super) fn new() -> Self {
        Order(0x9e37_79b9_7f4a_7c15)
    }

    /// The numbers below `count`, each order as likely as the others.
    pub(super) fn shuffled(&mut self, count: usize) -> Vec<usize> {
        let mut numbers: Vec<usize> = (0..count).collect();
        for left in (1..count).rev() {
            let other = self.next() % (left as u64 + 1);
            numbers.swap(left, other as usize);
        }
        numbers
    }

    /// Source: Marsaglia, "Xorshift RNGs" (2003).
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 32
    }
}
