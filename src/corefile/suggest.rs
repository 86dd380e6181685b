//! "Did you mean".

/// The known word that is most like `word`, if one is close enough to be a slip of the fingers.
///
/// Close is at most one edit (swapped neighbours count as one) for every three characters, and never the word itself.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Distances are quadratic; nothing of this length is a mistyped keyword.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    known
        .into_iter()
        .filter(|candidate| *candidate != word)
        .map(|candidate| (strsim::osa_distance(&lower, candidate), candidate))
        .filter(|(distance, candidate)| *distance * 3 <= candidate.len().max(lower.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn finds_slips_and_nothing_far_away() {
        let known = ["kubernetes", "errors", "log", "bind"];
        assert_eq!(did_you_mean("kuberentes", known), Some("kubernetes"));
        assert_eq!(did_you_mean("error", known), Some("errors"));
        assert_eq!(did_you_mean("Bind", known), Some("bind"));
        assert_eq!(did_you_mean("zzz", known), None);
        assert_eq!(did_you_mean("log", known), None);
        assert_eq!(did_you_mean("", known), None);
    }
}
