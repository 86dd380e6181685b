//! Signals, as CoreDNS takes them (caddy, sigtrap.go and sigtrap_posix.go).

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{EXIT_FORCED, EXIT_OK};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// End in good order.
    End,
    /// Read the Corefile again.
    Reload,
    /// End at once, with this exit code.
    Quit(u8),
}

/// The signals of this process; from when this is made, none has its default effect.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
    interrupts: u32,
}

impl Signals {
    /// Takes the signals over.
    ///
    /// # Errors
    /// If the system does not let it.
    pub(super) fn take() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            interrupts: 0,
        })
    }

    /// Waits for the next order.
    pub(super) async fn next(&mut self) -> Order {
        self.order(true).await
    }

    /// Waits for an order to end; others wait meanwhile.
    pub(super) async fn next_to_end(&mut self) -> Order {
        self.order(false).await
    }

    async fn order(&mut self, may_reload: bool) -> Order {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {
                    tracing::info!("SIGTERM: Shutting down servers then terminating");
                    return Order::End;
                }
                _ = self.interrupt.recv() => {
                    self.interrupts += 1;
                    if self.interrupts > 1 {
                        tracing::info!("SIGINT: Force quit");
                        return Order::Quit(EXIT_FORCED);
                    }
                    tracing::info!("SIGINT: Shutting down");
                    return Order::End;
                }
                _ = self.quit.recv() => {
                    tracing::info!("SIGQUIT: Quitting process immediately");
                    return Order::Quit(EXIT_OK);
                }
                // Sent by terminals that close, among others.
                _ = self.hangup.recv() => {}
                _ = self.user1.recv(), if may_reload => {
                    tracing::info!("SIGUSR1: Reloading");
                    return Order::Reload;
                }
                _ = self.user2.recv() => tracing::warn!("SIGUSR2: not served"),
            }
        }
    }

    /// Waits for an order to end at once.
    pub(super) async fn quit(&mut self) -> u8 {
        loop {
            if let Order::Quit(code) = self.next_to_end().await {
                return code;
            }
        }
    }
}
