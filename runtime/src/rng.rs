//! The order in which a thief visits its victims.

/// Marsaglia's xorshift32 (Xorshift RNGs, Journal of Statistical Software 8(14), 2003): three shifts, no multiply.
#[derive(Debug)]
pub(crate) struct Rng(u32);

impl Rng {
    /// Any seed is good; zero, the one state that xorshift cannot leave, is replaced.
    pub(crate) fn new(seed: u32) -> Self {
        Rng(if seed == 0 { 0x9E37_79B9 } else { seed })
    }

    /// A number in `0..n`; `n` must not be zero.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let mut x = self.0;
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.0 = x;
        // Lemire's multiply-shift instead of a division.
        ((u64::from(x) * n as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_seed_still_moves() {
        let mut rng = Rng::new(0);
        assert!((0..64).any(|_| rng.below(1000) != rng.below(1000)));
    }

    #[test]
    fn every_value_below_the_bound_appears() {
        let (mut rng, mut seen) = (Rng::new(7), [false; 5]);
        for _ in 0..1000 {
            seen[rng.below(5)] = true;
        }
        assert_eq!(seen, [true; 5]);
    }
}
