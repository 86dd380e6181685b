//! The table: medians, spreads, ratios.

/// One row's samples, ours and the reference's.
pub(crate) struct Row {
    title: String,
    unit: &'static str,
    digits: usize,
    samples: [Vec<f64>; 2],
}

impl Row {
    pub(crate) fn new(title: impl Into<String>, unit: &'static str, digits: usize, samples: [Vec<f64>; 2]) -> Self {
        Self { title: title.into(), unit, digits, samples }
    }
}

/// Prints rows as a Markdown table: for each server the median, and in parentheses the least and the greatest.
pub(crate) fn print(rows: &[Row]) {
    println!("| | podzone | CoreDNS | podzone / CoreDNS |");
    println!("|---|---|---|---|");
    for Row { title, unit, digits, samples: [ours, reference] } in rows {
        let ratio = match (median(ours), median(reference)) {
            (Some(ours), Some(reference)) if reference > 0.0 => format!("{:.3}", ours / reference),
            _ => "-".to_owned(),
        };
        println!("| {title}, {unit} | {} | {} | {ratio} |", cell(ours, *digits), cell(reference, *digits));
    }
}

fn cell(samples: &[f64], digits: usize) -> String {
    let least = samples.iter().copied().reduce(f64::min);
    let greatest = samples.iter().copied().reduce(f64::max);
    match (median(samples), least, greatest) {
        (Some(median), Some(least), Some(greatest)) => {
            format!("{median:.digits$} ({least:.digits$} to {greatest:.digits$})")
        }
        _ => "no round counts".to_owned(),
    }
}

fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted.get(middle).copied(),
        _ => Some((sorted.get(middle.checked_sub(1)?)? + sorted.get(middle)?) / 2.0),
    }
}
