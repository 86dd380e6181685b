//! When the Corefile is read again: when SIGUSR1 asks for it, and, with `reload`, when it, a file that it imports, or a
//! certificate that it names has changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::{Instant, sleep_until};

use super::args::Args;
use super::running::Running;
use super::serve::Failure;
use crate::config::{self, ConfigError, Fingerprint, Loaded, Reload, STDIN};
use crate::telemetry;

/// What was put to work, and what was tried to be.
pub(super) struct Reloader<'a> {
    args: &'a Args,
    corefile: PathBuf,
    /// When files are looked at next, and how long after that again.
    next: Option<(Instant, Duration)>,
    /// What was read for the last attempt.
    tried: Fingerprint,
    /// Whether the last attempt failed for what may pass: it is made again though nothing has changed.
    again: bool,
    /// What the clients of API servers were made of.
    credentials: Fingerprint,
}

/// Why a configuration was not put to work.
enum Refusal {
    /// It cannot be, as it is written.
    Corefile(ConfigError),
    /// What it takes is not to be had.
    Rest(anyhow::Error),
}

impl<'a> Reloader<'a> {
    /// Begins with what was put to work first.
    pub(super) fn new(args: &'a Args, loaded: &Loaded, tried: Fingerprint, running: &Running) -> Self {
        let credentials = running.credentials();
        let mut reloader = Self { args, corefile: args.corefile(), next: None, tried, again: false, credentials };
        reloader.runs(loaded);
        if reloader.next.is_some() && reloader.is_stdin() {
            tracing::warn!(target: "plugin/reload", "standard input is read once, whatever reload says");
            reloader.next = None;
        }
        reloader
    }

    /// Waits until files are to be looked at.
    pub(super) async fn due(&mut self) {
        match &mut self.next {
            None => std::future::pending().await,
            Some((next, interval)) => {
                sleep_until(*next).await;
                *next = Instant::now() + *interval;
            }
        }
    }

    /// Puts the Corefile to work as it is now.
    pub(super) async fn reload(&mut self, running: &mut Running) {
        if self.is_stdin() {
            telemetry::reload_failed();
            tracing::error!("SIGUSR1: standard input is read once: name a file with -conf");
            return;
        }
        let (loaded, fingerprint) = self.load().await;
        self.tried = fingerprint;
        // The signal asks for all of it.
        self.credentials = running.credentials();
        running.renew();
        self.attempt(running, loaded, "SIGUSR1").await;
    }

    /// Puts the Corefile to work if anything of it has changed.
    pub(super) async fn look(&mut self, running: &mut Running) {
        let credentials = running.credentials();
        if credentials != self.credentials {
            self.credentials = credentials;
            tracing::info!(target: "plugin/reload", "certificates or kubeconfigs have changed, clients are made anew");
            running.renew();
        }
        let (loaded, fingerprint) = self.load().await;
        if fingerprint != self.tried || self.again {
            self.tried = fingerprint;
            self.attempt(running, loaded, "Corefile changed but reload failed").await;
        }
    }

    fn is_stdin(&self) -> bool {
        self.corefile == Path::new(STDIN)
    }

    /// Reads the Corefile. A file may be on a disk that is slow.
    async fn load(&self) -> (Result<Loaded, ConfigError>, Fingerprint) {
        let (corefile, port) = (self.corefile.clone(), self.args.port);
        let loading = tokio::task::spawn_blocking(move || config::load_recorded(&corefile, port));
        match loading.await {
            Ok(loaded) => loaded,
            // It panicked, which is told already.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    async fn attempt(&mut self, running: &mut Running, loaded: Result<Loaded, ConfigError>, asked: &str) {
        tracing::info!("Reloading");
        let refusal = match loaded {
            Err(error) => Refusal::Corefile(error),
            Ok(loaded) => match running.reload(self.args, &loaded).await {
                Ok(()) => {
                    for warning in &loaded.warnings {
                        tracing::warn!("{warning}");
                    }
                    self.again = false;
                    self.credentials = running.credentials();
                    self.runs(&loaded);
                    tracing::info!("Reloading complete");
                    return;
                }
                Err(Failure::Configuration(error) | Failure::Runtime(error)) => Refusal::Rest(error),
            },
        };
        telemetry::reload_failed();
        self.again = matches!(refusal, Refusal::Rest(_));
        tell(&refusal, asked);
    }

    /// This is at work now.
    fn runs(&mut self, loaded: &Loaded) {
        self.next = loaded.config.reload().map(|reload| {
            tracing::info!(target: "plugin/reload", "Running configuration SHA512 = {}", loaded.version);
            let interval = jittered(reload);
            (Instant::now() + interval, interval)
        });
    }
}

/// Says why, a line for each reason, in the words that `podzone check` uses.
fn tell(refusal: &Refusal, asked: &str) {
    const STAYS: &str = "the configuration before it stays at work";
    match refusal {
        Refusal::Corefile(error) => {
            for diagnostic in error.diagnostics() {
                let hints: String = diagnostic.hints().iter().map(|hint| format!("; {hint}")).collect();
                tracing::error!(target: "plugin/reload", "{asked}: {}{hints}", diagnostic.headline());
            }
            tracing::error!(target: "plugin/reload", "{STAYS}: podzone check shows the lines");
        }
        Refusal::Rest(error) => {
            let lines = format!("{error:#}");
            let lines: Vec<&str> = lines.lines().map(str::trim).collect();
            tracing::error!(target: "plugin/reload", "{asked}: {}; {STAYS}", lines.join("; "));
        }
    }
}

/// The interval, with the jitter drawn once for as long as the configuration is at work (plugin/reload/setup.go).
fn jittered(Reload { interval, jitter }: Reload) -> Duration {
    let shift = jitter.mul_f64(rand::rng().random_range(0.0..1.0));
    (interval + shift).saturating_sub(jitter / 2)
}
