//! What was measured, and how it is shown.

/// One method in one round.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Which method.
    pub method: &'static str,
    /// In which round.
    pub round: usize,
    /// Wall time, seconds.
    pub seconds: f64,
}

/// Prints one line per method: time, rate, and its time by that of `measure`.
pub fn print(samples: &[Sample], methods: &[&'static str], measure: &str, mib: u64) {
    println!("  method              s (least-most)         MiB/s   time / {measure}");
    for method in methods {
        let of = |method: &str| -> Vec<Sample> {
            let own = samples.iter().filter(|sample| sample.method == method);
            own.copied().collect()
        };
        let (own, other) = (of(method), of(measure));
        let ratios = own.iter().filter_map(|sample| {
            let same = other.iter().find(|other| other.round == sample.round)?;
            Some(sample.seconds / same.seconds)
        });
        let seconds: Vec<f64> = own.iter().map(|sample| sample.seconds).collect();
        let ratios: Vec<f64> = ratios.collect();
        println!(
            "  {method:<18}  {:<21}  {:<6.0}  {}",
            spread(&seconds),
            mib as f64 / median(&seconds),
            spread(&ratios),
        );
    }
}

/// The median, with least and most.
pub fn spread(values: &[f64]) -> String {
    spread_to(values, 2)
}

/// The same, with so many decimals.
pub fn spread_to(values: &[f64], decimals: usize) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    let median = median(values);
    format!("{median:.decimals$} ({least:.decimals$}-{most:.decimals$})")
}

/// The middle value, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count.is_multiple_of(2) => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value_or_the_mean_of_two() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
