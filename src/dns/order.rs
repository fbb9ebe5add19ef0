//! The order in which SRV records are tried (RFC 2782, “Usage rules”).

use std::borrow::Borrow;

use rand::{Rng, RngExt};

use super::SrvRecord;

/// Puts records in the order of trying: by priority, within one priority by weighted chance.
pub fn order_srv<R: Borrow<SrvRecord>>(mut records: Vec<R>, random: &mut (impl Rng + ?Sized)) -> Vec<R> {
    // Weight 0 goes to the front of its priority, so that it has its small chance: the draw below may be 0.
    records.sort_by_key(|record| (record.borrow().priority, record.borrow().weight != 0));
    let mut ordered = Vec::with_capacity(records.len());
    let mut rest = records.into_iter().peekable();
    while let Some(first) = rest.next() {
        let priority = first.borrow().priority;
        let mut group = vec![first];
        while let Some(next) = rest.next_if(|next| next.borrow().priority == priority) {
            group.push(next);
        }
        while !group.is_empty() {
            let sum: u32 = group.iter().map(|record| u32::from(record.borrow().weight)).sum();
            let chosen = pick(&group, random.random_range(0..=sum));
            ordered.push(group.remove(chosen));
        }
    }
    ordered
}

/// The first record whose running sum of weights reaches the draw.
fn pick(group: &[impl Borrow<SrvRecord>], draw: u32) -> usize {
    let mut running = 0u32;
    group
        .iter()
        .position(|record| {
            running += u32::from(record.borrow().weight);
            running >= draw
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn s2s_01_priority_comes_before_weight() {
        let records = vec![record(20, 65535, "late"), record(10, 0, "early"), record(15, 1, "middle")];
        for seed in 0..50 {
            assert_eq!(
                targets(order_srv(records.clone(), &mut StdRng::seed_from_u64(seed))),
                ["early", "middle", "late"]
            );
        }
    }

    #[test]
    fn s2s_01_weights_are_shares_of_the_first_choice() {
        let records = vec![record(0, 60, "a"), record(0, 30, "b"), record(0, 10, "c")];
        let mut random = StdRng::seed_from_u64(7);
        let mut first = std::collections::HashMap::new();
        for _ in 0..10_000 {
            let ordered = order_srv(records.clone(), &mut random);
            assert_eq!(ordered.len(), 3);
            *first.entry(ordered[0].target.clone()).or_insert(0u32) += 1;
        }
        // The draw has 101 values, and 0 falls to the record that stands first: shares of 61, 30 and 10.
        // ±1.5 % of 10,000 is more than three standard deviations.
        for (target, share) in [("a", 61.0 / 101.0), ("b", 30.0 / 101.0), ("c", 10.0 / 101.0)] {
            let seen = f64::from(first[target]) / 10_000.0;
            assert!((seen - share).abs() < 0.015, "{target}: {seen} instead of {share}");
        }
    }

    #[test]
    fn s2s_01_weight_zero_is_rarely_but_sometimes_first() {
        let records = vec![record(0, 9, "heavy"), record(0, 0, "zero")];
        let mut random = StdRng::seed_from_u64(1);
        let zero_first =
            (0..10_000).filter(|_| order_srv(records.clone(), &mut random)[0].target == "zero").count();
        // One draw of ten (0 of 0..=9).
        assert!((850..1150).contains(&zero_first), "{zero_first}");
    }

    #[test]
    fn s2s_01_all_weights_zero_and_full_weights_do_not_fail() {
        let mut random = StdRng::seed_from_u64(1);
        let zeros: Vec<_> = (0..5).map(|n| record(0, 0, &format!("h{n}"))).collect();
        assert_eq!(order_srv(zeros, &mut random).len(), 5);
        let full: Vec<_> = (0..1000).map(|n| record(0, u16::MAX, &format!("h{n}"))).collect();
        assert_eq!(order_srv(full, &mut random).len(), 1000);
        assert!(order_srv(Vec::<SrvRecord>::new(), &mut random).is_empty());
    }

    fn record(priority: u16, weight: u16, target: &str) -> SrvRecord {
        SrvRecord { priority, weight, port: 5269, target: target.to_owned() }
    }

    fn targets(records: Vec<SrvRecord>) -> Vec<String> {
        records.into_iter().map(|record| record.target).collect()
    }
}
