//! A folder of manifests as a cluster.
//!
//! Every `.yaml`, `.yml` and `.json` file directly in the folder counts; files whose names begin with a dot do not,
//! which passes over a mounted ConfigMap's `..data` and follows the links that point into it. The folder is looked at
//! once a second, by what the links resolve to, so that the swap of a mounted ConfigMap is seen; only changed files
//! are read again.
//!
//! Namespaces that objects lie in exist, whether or not a Namespace manifest declares them: a cluster would have
//! refused the objects otherwise.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;

use super::complaint::Complaint;
use super::health::{Health, Why};
use super::lean::key_of;
use super::manifest_file::{self, Contents, FILE_BYTES_MAX, FileError};
use super::start::StartError;
use crate::model::{Event, Kind, Namespace, Object, ObjectKey};

/// A file that changed less than this ago may still be being written; it is read at the next look. It also keeps two
/// changes within one tick of the file system's clock apart.
const SETTLED: Duration = Duration::from_millis(200);

/// The label that the API server gives every Namespace (`LabelMetadataName` in `k8s.io/api/core/v1`).
const LABEL_NAME: &str = "kubernetes.io/metadata.name";

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino(), size: meta.size(), modified: meta.modified().ok() }
    }

    fn is_settled(&self) -> bool {
        // A time that lies ahead says nothing; the second look decides.
        self.modified.and_then(|modified| modified.elapsed().ok()).is_some_and(|age| age >= SETTLED)
    }
}

/// A file as it was last understood.
#[derive(Debug, Default)]
struct FileState {
    /// The content that was read, good or bad.
    read: Option<Stamp>,
    /// A change that was seen but not yet read.
    seen: Option<Stamp>,
    /// The last good content.
    contents: Contents,
    /// Why the content now in the file is not used.
    error: Option<String>,
}

/// The folder's files, by name.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    files: BTreeMap<PathBuf, FileState>,
    complaint: Complaint,
    /// Duplicates that have been logged.
    duplicates: BTreeSet<String>,
}

/// What a look at the folder brought.
#[derive(Debug, Default)]
struct Look {
    changed: bool,
    /// What is wrong now, one line a problem.
    errors: Vec<String>,
}

impl Folder {
    /// Looks through the folder. Blocks on the disk.
    ///
    /// # Errors
    /// When the folder itself cannot be read; what is known then stays.
    fn look(&mut self, first: bool) -> std::io::Result<Look> {
        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(&self.path)? {
            let name = PathBuf::from(entry?.file_name());
            if is_manifest(&name) {
                names.insert(name);
            }
        }
        let mut look = Look::default();
        self.files.retain(|name, file| {
            let stays = names.contains(name);
            look.changed |= !stays && !file.contents.objects.is_empty();
            stays
        });
        for name in names {
            let path = self.path.join(&name);
            let file = self.files.entry(name).or_default();
            look.changed |= file.look(&path, first);
            look.errors.extend(file.error.as_ref().map(|error| format!("{}: {error}", path.display())));
        }
        Ok(look)
    }

    /// Every object once, by kind: of duplicates the first counts, in the order of the files' names.
    fn merge(&mut self) -> BTreeMap<Kind, BTreeMap<ObjectKey, Arc<Object>>> {
        let mut merged: BTreeMap<Kind, BTreeMap<ObjectKey, Arc<Object>>> = BTreeMap::new();
        let mut origins: HashMap<(Kind, ObjectKey), &Path> = HashMap::new();
        let mut duplicates = BTreeSet::new();
        for (name, file) in &self.files {
            for object in &file.contents.objects {
                let (kind, key) = (object.kind(), key_of(object).into_owned());
                if let Some(first) = origins.get(&(kind, key.clone())) {
                    duplicates.insert(format!(
                        "{kind} {key} of {} is passed over: {} has it already",
                        name.display(),
                        first.display()
                    ));
                    continue;
                }
                origins.insert((kind, key.clone()), name);
                merged.entry(kind).or_default().insert(key, Arc::clone(object));
            }
        }
        for new in duplicates.difference(&self.duplicates) {
            tracing::warn!("{new}");
        }
        self.duplicates = duplicates;
        complete_namespaces(&mut merged);
        merged
    }
}

impl FileState {
    /// Reads the file if it changed; whether its objects may have.
    fn look(&mut self, path: &Path, first: bool) -> bool {
        // Before it is opened: opening a pipe would block.
        let stamp = match std::fs::metadata(path).map_err(FileError::from).and_then(|meta| {
            if !meta.is_file() {
                Err(FileError::NotAFile)
            } else if meta.len() > FILE_BYTES_MAX {
                Err(FileError::TooLarge)
            } else {
                Ok(Stamp::of(&meta))
            }
        }) {
            Ok(stamp) => stamp,
            Err(error) => {
                (self.read, self.seen) = (None, None);
                self.fail(path, &error);
                return false;
            }
        };
        if self.read == Some(stamp) {
            return false;
        }
        if !first && self.seen != Some(stamp) && !stamp.is_settled() {
            self.seen = Some(stamp);
            return false;
        }
        (self.read, self.seen) = (Some(stamp), None);
        match manifest_file::read(path) {
            Ok(contents) => {
                for note in contents.notes.iter().filter(|note| !self.contents.notes.contains(note)) {
                    tracing::warn!("{}: {note}", path.display());
                }
                if self.error.take().is_some() {
                    tracing::info!("{} can be used again", path.display());
                }
                self.contents = contents;
                true
            }
            Err(error) => {
                self.fail(path, &error);
                false
            }
        }
    }

    fn fail(&mut self, path: &Path, error: &FileError) {
        let error = error.to_string();
        if self.error.as_ref() != Some(&error) {
            let rest = if self.contents.objects.is_empty() { "it is left out" } else { "what it said before stays" };
            tracing::error!("{}: {error}; {rest}", path.display());
            self.error = Some(error);
        }
    }
}

fn is_manifest(name: &Path) -> bool {
    let hidden = name.as_os_str().as_encoded_bytes().starts_with(b".");
    let extension = name.extension().and_then(|extension| extension.to_str());
    !hidden && matches!(extension, Some("yaml" | "yml" | "json"))
}

/// Adds the namespaces that objects lie in, and to all the label that the API server would have set.
fn complete_namespaces(merged: &mut BTreeMap<Kind, BTreeMap<ObjectKey, Arc<Object>>>) {
    let mentioned: BTreeSet<Arc<str>> =
        merged.values().flat_map(BTreeMap::keys).map(|key| key.namespace.clone()).collect();
    let namespaces = merged.entry(Kind::Namespace).or_default();
    for name in mentioned.into_iter().filter(|name| !name.is_empty()) {
        let implied = || Arc::new(Object::Namespace(Namespace { name: name.clone(), labels: BTreeMap::new() }));
        namespaces.entry(ObjectKey::new("", name.clone())).or_insert_with(implied);
    }
    for object in namespaces.values_mut() {
        if let Object::Namespace(namespace) = &**object
            && !namespace.labels.contains_key(LABEL_NAME)
        {
            let mut namespace = namespace.clone();
            namespace.labels.insert(LABEL_NAME.to_owned(), namespace.name.to_string());
            *object = Arc::new(Object::Namespace(namespace));
        }
    }
}

/// Follows a folder; see [`super::start()`].
pub(super) struct Watcher {
    folder: Folder,
    kinds: Vec<Kind>,
    health: Arc<Health>,
    sent: BTreeMap<Kind, BTreeMap<ObjectKey, Arc<Object>>>,
}

impl Watcher {
    /// Reads the folder for the first time.
    ///
    /// # Errors
    /// [`StartError::Manifests`] when it is no folder that can be read.
    pub(super) async fn open(path: PathBuf, kinds: Vec<Kind>, health: Arc<Health>) -> Result<Self, StartError> {
        let mut folder = Folder {
            path: path.clone(),
            files: BTreeMap::new(),
            complaint: Complaint::default(),
            duplicates: BTreeSet::new(),
        };
        let fail = |reason: String| StartError::Manifests { path: path.clone(), reason };
        let look = tokio::task::spawn_blocking(move || {
            let look = folder.look(true);
            (folder, look)
        });
        let (folder, look) = look.await.map_err(|error| fail(error.to_string()))?;
        let look = look.map_err(|error| fail(error.to_string()))?;
        if folder.files.is_empty() {
            tracing::warn!("{} has no .yaml, .yml or .json file yet", folder.path.display());
        }
        let watcher = Self { folder, kinds, health, sent: BTreeMap::new() };
        watcher.report(&look);
        Ok(watcher)
    }

    /// Sends the folder's objects, and again what changes, until nobody takes the events any more.
    pub(super) async fn run(mut self, events: mpsc::Sender<Event>, poll: Duration) {
        if self.send(&events, true).await.is_err() {
            return;
        }
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + poll, poll);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = events.closed() => return,
            }
            let mut folder = self.folder;
            let look = tokio::task::spawn_blocking(move || {
                let look = folder.look(false);
                (folder, look)
            });
            let Ok((folder, look)) = look.await else {
                tracing::error!("looking through the folder of manifests failed; it is followed no more");
                return;
            };
            self.folder = folder;
            match look {
                Ok(look) => {
                    if self.folder.complaint.settle() {
                        tracing::info!("{} can be read again", self.folder.path.display());
                    }
                    self.report(&look);
                    if look.changed && self.send(&events, false).await.is_err() {
                        return;
                    }
                }
                // The folder, not just its files, is gone: an accident (a volume that is not mounted), so that what
                // is known is kept. To take all objects away, delete the files.
                Err(error) => {
                    let cause = format!("cannot read {}: {error}", self.folder.path.display());
                    if self.folder.complaint.is_due(&cause, Instant::now()) {
                        tracing::error!("{cause}; what is known is still served");
                    }
                    self.kinds.iter().for_each(|kind| self.health.failed(*kind, &cause, Why::Other));
                }
            }
        }
    }

    fn report(&self, look: &Look) {
        for kind in &self.kinds {
            self.health.looked(*kind, look.errors.first().map(String::as_str));
        }
    }

    /// Sends the kinds whose objects changed, or all.
    async fn send(&mut self, events: &mpsc::Sender<Event>, all: bool) -> Result<(), mpsc::error::SendError<Event>> {
        let mut merged = self.folder.merge();
        for kind in &self.kinds {
            let objects = merged.remove(kind).unwrap_or_default();
            if !all && self.sent.get(kind) == Some(&objects) {
                continue;
            }
            events.send(Event::Begin(*kind)).await?;
            if !all {
                self.health.changed();
            }
            for object in objects.values() {
                events.send(Event::Apply(Object::clone(object))).await?;
            }
            events.send(Event::End(*kind)).await?;
            self.health.events(*kind, objects.len());
            self.health.listed(*kind);
            self.sent.insert(*kind, objects);
        }
        Ok(())
    }
}
