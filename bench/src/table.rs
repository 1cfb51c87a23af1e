//! Rounds over several systems in turn, and the medians: what one machine does at one time is compared, nothing else. Criterion
//! measures one system after the other and keeps no tail of latencies, which is why it is not used for these tables.

/// A number from the environment, for sizes and times.
pub fn size(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|value| value.replace('_', "").parse().ok())
        .unwrap_or(otherwise)
}

/// Those that the command line names, or all if it names none of them.
pub fn named<T: Copy + ToString>(all: &[T]) -> Vec<T> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let named = all.iter().copied().filter(|one| arguments.contains(&one.to_string()));
    let named: Vec<T> = named.collect();
    if named.is_empty() { all.to_vec() } else { named }
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs every row in turn, several times, and gives the median of each of a row's numbers.
pub fn rounds<const N: usize>(rounds: u64, rows: usize, mut run: impl FnMut(usize) -> [f64; N]) -> Vec<[f64; N]> {
    let mut seen: Vec<Vec<[f64; N]>> = vec![Vec::new(); rows];
    for _ in 0..rounds {
        for (row, seen) in seen.iter_mut().enumerate() {
            seen.push(run(row));
        }
    }
    let middle = |seen: Vec<[f64; N]>| {
        std::array::from_fn(|column| median(seen.iter().map(|numbers| numbers[column]).collect()))
    };
    seen.into_iter().map(middle).collect()
}

/// Prints the load that other processes put on the machine.
pub fn print_load() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "load average: {}",
        load.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
    );
}
