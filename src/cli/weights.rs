//! Files of weights (`loadbalance weighted FILE`): each is looked at now and then, for as long as a configuration wants it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::answer::Weights;
use crate::config::{Config, WeightFile, parse_weights};
use crate::zone::Name;

/// The files of a configuration, and what they say.
#[derive(Default)]
pub(super) struct WeightFiles(Vec<Watched>);

/// A file that is looked at until this is dropped.
struct Watched {
    file: WeightFile,
    weights: Arc<Weights>,
    task: AbortHandle,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl WeightFiles {
    /// Looks at the files of a configuration, and at no others any more; to be called on the runtime. One that was looked at
    /// before goes on.
    pub(super) fn replace(&mut self, config: &Config) {
        let mut before = std::mem::take(&mut self.0);
        let wanted = config.blocks.iter().filter_map(|block| block.loadbalance.as_ref()?.weights.as_ref());
        for file in wanted {
            if self.0.iter().any(|watched| watched.file == *file) {
                continue;
            }
            self.0.push(match before.iter().position(|watched| watched.file == *file) {
                Some(at) => before.swap_remove(at),
                None => Watched::new(file.clone()),
            });
        }
    }

    /// What a file says.
    pub(super) fn of(&self, file: &WeightFile) -> Arc<Weights> {
        let watched = self.0.iter().find(|watched| watched.file == *file);
        watched.map_or_else(Arc::default, |watched| Arc::clone(&watched.weights))
    }
}

impl Watched {
    fn new(file: WeightFile) -> Self {
        let weights = Arc::<Weights>::default();
        let mut said = None;
        look(&file.path, &mut said, &weights);
        let (path, every, of_task) = (file.path.clone(), file.reload, Arc::clone(&weights));
        let task = tokio::spawn(async move {
            if every.is_zero() {
                return;
            }
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                look(&path, &mut said, &of_task);
            }
        });
        Self { file, weights, task: task.abort_handle() }
    }
}

/// Takes a file up if it says something else than before; one that cannot be read, or is wrong, changes nothing.
fn look(path: &Path, said: &mut Option<Vec<u8>>, weights: &Weights) {
    let octets = match std::fs::read(path) {
        Ok(octets) => octets,
        Err(error) => return tracing::error!(target: "plugin/loadbalance", "weight file open error: {error}"),
    };
    if said.as_ref() == Some(&octets) {
        return;
    }
    match parse_weights(&path.to_string_lossy(), &String::from_utf8_lossy(&octets)) {
        Ok(table) => {
            let named = table.into_iter().filter_map(|(name, addresses)| Some((Name::parse(&name)?, addresses)));
            weights.replace(named.collect::<HashMap<_, _>>());
            tracing::info!(target: "plugin/loadbalance", "Successfully reloaded weight file {}", path.display());
        }
        Err(reason) => tracing::error!(target: "plugin/loadbalance", "{reason}"),
    }
    *said = Some(octets);
}
