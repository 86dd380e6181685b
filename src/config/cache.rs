//! `cache [TTL] [ZONES...] { ... }`

use std::time::Duration;

use super::reader::{ONCE, Reader};
use super::report::Report;
use super::zone::{self, ZoneError, zones};
use super::{ServerBlock, ZoneKey, duration, number};
use crate::corefile::{self, Diagnostic, Token, did_you_mean};

/// Defaults of `plugin/cache` in CoreDNS, times in seconds.
const CAPACITY_DEFAULT: usize = 10_000;
const SUCCESS_TTL_SECS: u32 = 3600;
const DENIAL_TTL_SECS: u32 = 1800;
const TTL_SECS_MIN: u32 = 5;
/// A capacity is that of 256 shards, each of 4 entries at least (plugin/pkg/cache/cache.go).
const SHARDS: usize = 256;
const OF_SHARD_MIN: usize = 4;
/// RFC 2308 section 7.1.
const SERVFAIL_MAX: Duration = Duration::from_secs(5 * 60);
/// RFC 8767 section 5 calls it the failure recheck timer.
const RECHECK_MAX: Duration = Duration::from_secs(5 * 60);
const PREFETCH_WITHIN: Duration = Duration::from_secs(60);
const PREFETCH_PERCENT: u32 = 10;
const STALE_DEFAULT: Duration = Duration::from_secs(3600);
/// Words of `success` and `denial`: CAPACITY TTL MINTTL.
const SIDE_WORDS_MAX: usize = 3;

const OPTIONS: [&str; 8] =
    ["success", "denial", "prefetch", "serve_stale", "serve_stale_policy", "servfail", "disable", "keepttl"];

/// A `cache` directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// The zones whose names it is about: lower case, trailing dot.
    pub zones: Vec<String>,
    /// `success`: answers with records, and referrals.
    pub success: CacheSide,
    /// `denial`: NXDOMAIN and NODATA; failures have its room too.
    pub denial: CacheSide,
    /// `servfail`: how long failures are kept, at most 5 min, default 5 s; zero is not at all.
    pub servfail: Duration,
    /// `prefetch`: what is asked for often is asked again before it expires.
    pub prefetch: Option<Prefetch>,
    /// `serve_stale`: what has expired is served.
    pub stale: Option<ServeStale>,
    /// `disable success`: answers for names at or below these are not kept.
    pub success_disabled: Vec<String>,
    /// `disable denial`
    pub denial_disabled: Vec<String>,
    /// `keepttl`: TTLs do not run down.
    pub keep_ttl: bool,
}

/// One of the two stores of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSide {
    /// How many answers it holds, a multiple of 256, at least 1,024, default 9,984.
    pub capacity: usize,
    /// How long they are kept at most, in seconds.
    pub max_ttl_secs: u32,
    /// How long they are kept at least, in seconds, but for `max_ttl_secs`.
    pub min_ttl_secs: u32,
}

/// Which answers are asked for again before they expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefetch {
    /// Those that were asked for so often, at least 1,
    pub amount: u32,
    /// with no gap of this or more.
    pub within: Duration,
    /// When this much of the TTL is left, 10 to 90.
    pub percent: u32,
}

/// How answers that have expired are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeStale {
    /// For how long, default 1 h; zero is not at all.
    pub up_to: Duration,
    /// `verify`: only if the upstream does not answer. Otherwise they are served first, and the upstream is asked then.
    pub verify: bool,
    /// How long is waited for the upstream; zero is as long as it takes. With `verify` only.
    pub timeout: Duration,
    /// The TTL that they are sent with, in seconds.
    pub ttl_secs: u32,
    /// How long nobody is asked again after an upstream failed, at most 5 min.
    pub recheck: Duration,
    /// `serve_stale_policy prefer_positive`: an answer with records is served though there is a newer denial.
    pub prefer_positive: bool,
}

impl Cache {
    fn new(zones: Vec<String>, ttl_secs: Option<u32>) -> Self {
        let side = |default| CacheSide {
            capacity: capacity(i64::try_from(CAPACITY_DEFAULT).unwrap_or_default()),
            max_ttl_secs: ttl_secs.unwrap_or(default),
            min_ttl_secs: TTL_SECS_MIN,
        };
        Self {
            zones,
            success: side(SUCCESS_TTL_SECS),
            denial: side(DENIAL_TTL_SECS),
            servfail: Duration::from_secs(TTL_SECS_MIN.into()),
            prefetch: None,
            stale: None,
            success_disabled: Vec::new(),
            denial_disabled: Vec::new(),
            keep_ttl: false,
        }
    }
}

/// Reads the one directive that a block may have.
pub(super) fn check(mut reader: Reader<'_>, keys: &[ZoneKey], report: &mut Report) -> Option<Cache> {
    let mut cache = None;
    while reader.next_line(report) {
        if cache.is_some() {
            let error = reader.bare_error(reader.current(), ONCE);
            report.error(error.hint("one cache in a block has any number of zones"));
            reader.give_up();
            break;
        }
        cache = Some(stanza(&mut reader, keys, report));
    }
    cache
}

/// Warns of caches with nothing to keep: the cluster's own zones are in memory.
pub(super) fn check_all(blocks: &[corefile::ServerBlock], checked: &[ServerBlock], report: &mut Report) {
    for (block, checked) in blocks.iter().zip(checked).filter(|(_, checked)| checked.forwards.is_empty()) {
        let directive = block.directives.iter().find(|directive| directive.name == "cache" && checked.cache.is_some());
        if let Some(word) = directive.and_then(|directive| directive.tokens.first()) {
            report.warn(word, "cache has no effect without forward in the same block: only what others answer is kept");
        }
    }
}

fn stanza(reader: &mut Reader<'_>, keys: &[ZoneKey], report: &mut Report) -> Cache {
    // The first word is a TTL if it is a number.
    let ttl = reader.peek().filter(|word| number::parse(&word.text).is_ok());
    let ttl = ttl.and_then(|word| {
        reader.next_arg();
        max_ttl(word, reader).map_err(|error| report.error(*error)).ok()
    });
    let mut cache = Cache::new(zones(reader, keys, report), ttl);
    let mut policy: Option<&Token> = None;
    while let Some(option) = reader.next_option() {
        if !OPTIONS.contains(&option.text.as_str()) {
            let error = reader.argument_error();
            report.error(match did_you_mean(&option.text, OPTIONS) {
                Some(known) => error.hint(format!("did you mean '{known}'?")),
                None => error.hint(format!("cache has the options {}", OPTIONS.join(", "))),
            });
            reader.give_up();
            break;
        }
        let words = reader.remaining_args();
        if option.text == "serve_stale_policy" {
            if policy.is_some() {
                report.error(reader.bare_error(option, "serve_stale_policy can only be specified once"));
            }
            policy = Some(option);
        }
        if let Err(error) = cache.option(option, words, reader, report) {
            report.error(*error);
        }
    }
    match (&mut cache.stale, policy) {
        (Some(stale), Some(_)) => stale.prefer_positive = true,
        (None, Some(word)) => {
            report.error(reader.bare_error(word, "serve_stale_policy requires serve_stale"));
        }
        _ => {}
    }
    cache
}

type Checked<T> = Result<T, Box<Diagnostic>>;

impl Cache {
    fn option(&mut self, option: &Token, words: &[Token], reader: &Reader<'_>, report: &mut Report) -> Checked<()> {
        match option.text.as_str() {
            "success" => side(&mut self.success, words, reader, report)?,
            "denial" => side(&mut self.denial, words, reader, report)?,
            "prefetch" => self.prefetch = prefetch(words, reader)?,
            "serve_stale" => self.stale = Some(serve_stale(words, reader)?),
            "serve_stale_policy" => {
                let [word] = words else { return Err(reader.argument_error().into()) };
                if !word.text.eq_ignore_ascii_case("prefer_positive") {
                    let error = reader.bare_error(word, format_args!("invalid serve_stale_policy: {}", word.text));
                    return Err(error.hint("the only policy is prefer_positive").into());
                }
            }
            "servfail" => {
                let [word] = words else { return Err(reader.argument_error().into()) };
                let time = time(word, "", "invalid negative ttl for servfail", reader)?;
                if time > SERVFAIL_MAX {
                    let message = "caching SERVFAIL responses over 5 minutes is not permitted";
                    return Err(reader.bare_error(word, message).hint("RFC 2308 section 7.1 allows 5m").into());
                }
                self.servfail = time;
            }
            "disable" => {
                let [what, zones @ ..] = words else { return Err(reader.argument_error().into()) };
                let disabled = match what.text.as_str() {
                    "success" => &mut self.success_disabled,
                    "denial" => &mut self.denial_disabled,
                    _ => {
                        let message = "cache type for disable must be \"success\" or \"denial\"";
                        return Err(reader.bare_error(what, message).into());
                    }
                };
                // The last line holds.
                *disabled = zones.iter().map(|zone| disabled_zone(zone, reader)).collect::<Checked<_>>()?;
                if zones.is_empty() {
                    disabled.push(".".into());
                }
            }
            // keepttl
            _ => {
                if !words.is_empty() {
                    return Err(reader.argument_error().hint("keepttl takes no arguments").into());
                }
                self.keep_ttl = true;
            }
        }
        Ok(())
    }
}

/// Reads CAPACITY [TTL] [MINTTL].
fn side(side: &mut CacheSide, words: &[Token], reader: &Reader<'_>, report: &mut Report) -> Checked<()> {
    let [room, ttls @ ..] = words else { return Err(reader.argument_error().into()) };
    side.capacity = capacity(whole(room, reader)?);
    if let [ttl, ..] = ttls {
        side.max_ttl_secs = max_ttl(ttl, reader)?;
    }
    if let [_, ttl, ..] = ttls {
        let secs = whole(ttl, reader)?;
        if secs < 0 {
            let message = format_args!("cache min TTL can not be negative: {secs}");
            return Err(reader.bare_error(ttl, message).into());
        }
        side.min_ttl_secs = u32::try_from(secs).unwrap_or(u32::MAX);
    }
    if let Some(word) = words.get(SIDE_WORDS_MAX) {
        report.warn(word, format_args!("{} has no effect: CAPACITY, TTL and MINTTL stand before it", word.text));
    }
    Ok(())
}

/// As many as CoreDNS holds.
fn capacity(said: i64) -> usize {
    (usize::try_from(said).unwrap_or(0) / SHARDS).max(OF_SHARD_MIN).saturating_mul(SHARDS)
}

fn prefetch(words: &[Token], reader: &Reader<'_>) -> Checked<Option<Prefetch>> {
    let [amount, times @ ..] = words else { return Err(reader.argument_error().into()) };
    if times.len() > 2 {
        return Err(reader.argument_error().into());
    }
    let said = whole(amount, reader)?;
    if said < 0 {
        return Err(reader.bare_error(amount, format_args!("prefetch amount should be positive: {said}")).into());
    }
    let within = match times.first() {
        Some(word) => duration::parse(&word.text).map_err(|error| reader.bare_error(word, error))?,
        None => PREFETCH_WITHIN,
    };
    let percent = match times.get(1) {
        Some(word) => percentage(word, reader)?,
        None => PREFETCH_PERCENT,
    };
    let amount = u32::try_from(said).unwrap_or(u32::MAX);
    Ok((amount > 0).then_some(Prefetch { amount, within, percent }))
}

fn percentage(word: &Token, reader: &Reader<'_>) -> Checked<u32> {
    let Some(digits) = word.text.strip_suffix('%') else {
        let last = word.text.chars().next_back().unwrap_or(' ');
        let message = format_args!("last character of percentage should be `%`, but is: {last:?}");
        return Err(reader.bare_error(word, message).hint("it is written: 10%").into());
    };
    let number = number::parse(digits).map_err(|error| reader.bare_error(word, error))?;
    u32::try_from(number).ok().filter(|number| (10..=90).contains(number)).ok_or_else(|| {
        reader.bare_error(word, format_args!("percentage should fall in range [10, 90]: {number}")).into()
    })
}

/// Reads [DURATION] [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]].
fn serve_stale(words: &[Token], reader: &Reader<'_>) -> Checked<ServeStale> {
    let mut stale = ServeStale {
        up_to: STALE_DEFAULT,
        verify: false,
        timeout: Duration::ZERO,
        ttl_secs: 0,
        recheck: Duration::ZERO,
        prefer_positive: false,
    };
    let mut words = words;
    let mut next = || words.split_off_first();
    let Some(word) = next() else { return Ok(stale) };
    stale.up_to = time(word, "", "invalid negative duration for serve_stale", reader)?;
    if let Some(mode) = next() {
        stale.verify = match mode.text.to_ascii_lowercase().as_str() {
            "immediate" => false,
            "verify" => true,
            other => {
                let error =
                    reader.bare_error(mode, format_args!("invalid value for serve_stale refresh mode: {other}"));
                return Err(error.hint("the modes are immediate and verify").into());
            }
        };
    }
    if stale.verify
        && let Some(word) = next()
    {
        let negative = "invalid negative timeout for serve_stale verify";
        stale.timeout = time(word, "invalid serve_stale verify timeout: ", negative, reader)?;
    }
    if let Some(word) = next() {
        let negative = "invalid negative response TTL for serve_stale";
        let ttl = time(word, "invalid serve_stale response TTL: ", negative, reader)?;
        if ttl.subsec_nanos() != 0 {
            let message = "serve_stale response TTL must be a whole number of seconds";
            return Err(reader.bare_error(word, message).into());
        }
        stale.ttl_secs = u32::try_from(ttl.as_secs())
            .map_err(|_| reader.bare_error(word, "serve_stale response TTL exceeds the DNS TTL range"))?;
    }
    if let Some(word) = next() {
        let negative = "invalid negative failure recheck for serve_stale";
        stale.recheck = time(word, "invalid serve_stale failure recheck: ", negative, reader)?;
        if stale.recheck > RECHECK_MAX {
            return Err(reader.bare_error(word, "serve_stale failure recheck cannot exceed 5 minutes").into());
        }
    }
    match next() {
        Some(_) => Err(reader.argument_error().into()),
        None => Ok(stale),
    }
}

fn disabled_zone(word: &Token, reader: &Reader<'_>) -> Checked<String> {
    zone::normalize(&word.text).map_err(|error| {
        let hint = match error {
            ZoneError::Invalid(_, hint) => hint,
            ZoneError::Scheme(_) => None,
        };
        let error = reader.bare_error(word, format_args!("invalid disabled zone: {}", word.text));
        match hint {
            Some(hint) => error.hint(hint).into(),
            None => error.into(),
        }
    })
}

/// A duration that may not be negative.
fn time(word: &Token, before: &str, negative: &str, reader: &Reader<'_>) -> Checked<Duration> {
    let parsed =
        duration::parse(&word.text).map_err(|error| reader.bare_error(word, format_args!("{before}{error}")))?;
    let is_negative = word.text.strip_prefix('-').is_some_and(|rest| duration::parse(rest) != Ok(Duration::ZERO));
    if is_negative { Err(reader.bare_error(word, negative).into()) } else { Ok(parsed) }
}

fn max_ttl(word: &Token, reader: &Reader<'_>) -> Checked<u32> {
    let secs = whole(word, reader)?;
    if secs <= 0 {
        let message = format_args!("cache TTL can not be zero or negative: {secs}");
        return Err(reader.bare_error(word, message).into());
    }
    Ok(u32::try_from(secs).unwrap_or(u32::MAX))
}

fn whole(word: &Token, reader: &Reader<'_>) -> Checked<i64> {
    number::parse(&word.text).map_err(|error| reader.bare_error(word, error).hint("it is a whole number").into())
}
