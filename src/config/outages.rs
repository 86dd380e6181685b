//! `snapshot` and `hold_mass_removal` of `kubernetes`, which are a cluster's matter and not a view's.

use std::time::Duration;

use super::reader::Reader;
use super::report::Report;
use super::{ApiLimits, Kubernetes, ServerBlock, Source, duration};
use crate::corefile::{self, Diagnostic, Token};

/// `hold_mass_removal PERCENT% DURATION`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MassRemoval {
    /// A listing that leaves out more than this share of all endpoints, in percent: 0 to 99.
    pub percent: u8,
    /// How long what it leaves out stays: 1 s to 24 h.
    pub time: Duration,
}

/// Shorter ones hold nothing, and longer ones are slips of the pen: what is gone would have names for days.
const TIME_MIN: Duration = Duration::from_secs(1);
const TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// Reads `hold_mass_removal PERCENT% DURATION`.
pub(super) fn check_mass_removal(
    percent: &Token,
    time: &Token,
    reader: &Reader<'_>,
    report: &mut Report,
) -> Option<MassRemoval> {
    let share = percent.text.strip_suffix('%').filter(|digits| digits.bytes().all(|octet| octet.is_ascii_digit()));
    let share = share.and_then(|digits| digits.parse().ok()).filter(|share| *share < 100);
    if share.is_none() {
        let error = reader.error_at(percent, format_args!("not a share of all endpoints: {}", percent.text));
        report
            .error(error.hint("a share is written 0% to 99%: a listing that leaves out more is not believed at once"));
    }
    let read = match duration::parse(&time.text) {
        Ok(read) if (TIME_MIN..=TIME_MAX).contains(&read) => Some(read),
        Ok(_) => {
            let error = reader.error_at(time, format_args!("what is gone cannot stay for {}", time.text));
            report.error(error.hint("it stays for 1s to 24h"));
            None
        }
        Err(error) => {
            report.error(reader.bare_error(time, error.to_string()).hint("durations are written 60s, 1m30s, 5m"));
            None
        }
    };
    Some(MassRemoval { percent: share?, time: read? })
}

/// The options that are said of a cluster, each with what tells one value from another.
type Said = fn(&Kubernetes) -> Option<String>;
const OF_CLUSTERS: [(&str, Said); 2] = [
    (SNAPSHOT, |view| view.snapshot.as_ref().map(|file| file.display().to_string())),
    ("hold_mass_removal", |view| view.mass_removal.map(|rule| format!("{}% {:?}", rule.percent, rule.time))),
];
const SNAPSHOT: &str = "snapshot";
const KUBERNETES: &str = "kubernetes";

/// Refuses what the views of one cluster say differently of it. What one of them says counts for all.
pub(super) fn check_all(written: &[corefile::ServerBlock], blocks: &[ServerBlock], report: &mut Report) {
    for (option, said) in OF_CLUSTERS {
        let mut known: Vec<((&Source, ApiLimits), String, &Token)> = Vec::new();
        for (written, block) in written.iter().zip(blocks) {
            let Some(view) = &block.kubernetes else { continue };
            let (Some(value), Some(word)) = (said(view), word(written, option)) else { continue };
            let cluster = (&view.source, view.api_limits);
            let other = known.iter().find(|(of, there, _)| {
                let is_same = *of == cluster;
                // One file holds one cluster.
                is_same && *there != value || !is_same && option == SNAPSHOT && *there == value
            });
            if let Some((of, _, other)) = other {
                let line = other.place.line;
                let (message, hint) = if *of == cluster {
                    let message = format!("{option} differs from that of another view of the same cluster");
                    (message, format!("say the same as line {line}, or say it once: it counts for the whole cluster"))
                } else {
                    let message = "snapshot names the file of another cluster".to_owned();
                    (message, format!("each cluster has a file of its own, and line {line} has this one"))
                };
                let error = Diagnostic::parsing(&word.place, message);
                report.error(error.from_plugin(KUBERNETES).hint(hint));
                continue;
            }
            known.push((cluster, value, word));
        }
    }
}

/// Where a block says an option of `kubernetes`: the first word of a line, since a value may be called as an option is. The
/// last of several counts.
fn word<'a>(written: &'a corefile::ServerBlock, option: &str) -> Option<&'a Token> {
    let directive = written.directives.iter().find(|directive| directive.name == KUBERNETES)?;
    let mut pairs = directive.tokens.windows(2).rev();
    pairs.find_map(|pair| match pair {
        [before, token] if token.text == option && !before.continues(token) => Some(token),
        _ => None,
    })
}
