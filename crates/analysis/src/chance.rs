//! Sets chosen at random: how often they miss each other.

use num_traits::{One, Zero};

use crate::ratio::{Ratio, whole};

/// The probability that `read` members drawn at random miss all of `written` given ones, of
/// `members`: C(n-w, r) / C(n, r). With partial quorums (R + W <= N) it is how often a read does
/// not see the last write at all (Bailis et al., PBS, 2012); with random sets of equal size it is
/// how often two of them share nobody (Malkhi, Reiter, Wright 1997).
///
/// # Panics
/// When `read` or `written` is more than `members`.
pub fn miss(members: usize, written: usize, read: usize) -> Ratio {
    assert!(written <= members && read <= members, "sets are of members");
    let mut chance = Ratio::one();
    for at in 0..read {
        let left = (members - written).saturating_sub(at);
        if left == 0 {
            return Ratio::zero();
        }
        chance = chance * whole(left) / whole(members - at);
    }
    chance
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratio::{ratio, to_f64};

    #[test]
    fn partial_quorums_miss_the_last_write_as_often_as_counting_says() {
        for ((members, read, written), (top, bottom)) in [
            ((3, 1, 1), (2, 3)),
            ((3, 1, 2), (1, 3)),
            ((3, 2, 1), (1, 3)),
            ((3, 2, 2), (0, 1)),
            ((5, 2, 2), (3, 10)),
        ] {
            assert_eq!(miss(members, written, read), ratio(top, bottom));
        }
    }

    #[test]
    fn random_sets_of_a_few_times_root_n_almost_always_meet() {
        assert_eq!(miss(9, 3, 3), ratio(5, 21));
        for (size, expected) in [(20, 0.0065959), (30, 1.88435e-6)] {
            let chance = to_f64(&miss(100, size, size));
            assert!((chance - expected).abs() < expected * 1e-5, "{chance}");
        }
    }
}
