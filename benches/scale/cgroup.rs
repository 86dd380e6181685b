//! A control group for one server, in which the kernel counts memory as it does for a container: the program's own, and
//! what the kernel holds for it in sockets and tables.

use crate::support::process::Afterwards;
use std::fs;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Removes the group when its processes have ended, which the kernel may take a moment to see.
const REMOVE: &str = r#"for _ in 1 2 3 4 5; do sleep 1; rmdir "$1" && exit; done"#;

/// Moves itself into the group, and then is what follows.
const JOIN: &str = r#"echo $$ >"$0/cgroup.procs" && exec "$@""#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

impl Version {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::V1 => "memory.usage_in_bytes and memory.max_usage_in_bytes of a control group (cgroup v1)",
            Self::V2 => "memory.current and memory.peak of a control group (cgroup v2)",
        }
    }

    fn usage(self) -> &'static str {
        match self {
            Self::V1 => "memory.usage_in_bytes",
            Self::V2 => "memory.current",
        }
    }

    fn peak(self) -> &'static str {
        match self {
            Self::V1 => "memory.max_usage_in_bytes",
            Self::V2 => "memory.peak",
        }
    }

    /// The key of file pages in `memory.stat`.
    fn file(self) -> &'static str {
        match self {
            Self::V1 => "total_cache ",
            Self::V2 => "file ",
        }
    }
}

/// Bytes that are charged to a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charged {
    pub(crate) usage: u64,
    /// Of which the page cache of files: the program itself, its log. Whoever reads a file first is charged for it.
    pub(crate) file: u64,
    /// Where the kernel keeps it, and has forgotten it when told so.
    pub(crate) peak: Option<u64>,
}

pub(crate) struct Group {
    version: Version,
    folder: PathBuf,
    /// Kept open: version 2 forgets a peak for one open file only.
    peak: Option<fs::File>,
    _guard: Afterwards,
}

impl Group {
    /// A new group below this process's own or, where that may have none, above it; nothing where none can be made.
    pub(crate) fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("podzone-bench-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (version, mount, own) = memory_controller()?;
        let own = mount.join(own.trim_start_matches('/'));
        let folder = own.ancestors().take_while(|folder| folder.starts_with(&mount)).find_map(|parent| {
            let folder = parent.join(&name);
            fs::create_dir(&folder).ok()?;
            if folder.join(version.usage()).is_file() {
                return Some(folder);
            }
            // A group of version 2 whose parent does not pass the controller on.
            let _ = fs::remove_dir(&folder);
            None
        })?;
        let guard = Afterwards::run(REMOVE, &folder.to_string_lossy());
        let peak = fs::File::options().read(true).write(true).open(folder.join(version.peak())).ok();
        Some(Self { version, folder, peak, _guard: guard })
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The launcher of a process that is to be in the group.
    pub(crate) fn launcher(&self) -> Vec<String> {
        ["sh", "-c", JOIN, &self.folder.to_string_lossy()].map(str::to_owned).into()
    }

    pub(crate) fn charged(&self) -> Charged {
        let stat = self.read("memory.stat");
        let file = stat.lines().find_map(|line| line.strip_prefix(self.version.file()));
        let peak = self.peak.as_ref().map(|mut file| {
            let mut text = String::new();
            file.rewind().and_then(|()| file.read_to_string(&mut text)).expect("the group's peak");
            number(&text)
        });
        Charged { usage: number(&self.read(self.version.usage())), file: number(file.expect("file pages")), peak }
    }

    /// From now on the peak is that since now. Kernels before 6.12 cannot do that in version 2; then there is none.
    pub(crate) fn forget_peak(&mut self) {
        self.peak = self.peak.take().filter(|mut file| file.write_all(b"0").is_ok());
    }

    fn read(&self, name: &str) -> String {
        let path = self.folder.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its processes have been waited for; the kernel may take a moment to see it.
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        eprintln!("{} is left behind", self.folder.display());
    }
}

/// Which version has the controller of memory, where it is mounted, and which group this process is in.
fn memory_controller() -> Option<(Version, PathBuf, String)> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    controller_of(&groups, &mounts)
}

fn controller_of(groups: &str, mounts: &str) -> Option<(Version, PathBuf, String)> {
    let group = |holds: &dyn Fn(&str) -> bool| {
        let mut fields = groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        fields.find(|(controllers, _)| holds(controllers)).map(|(_, path)| path.to_owned())
    };
    let mount = |kind: &str, option: &str| {
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let found = mounts.find(|fields| {
            fields.get(2) == Some(&kind)
                && fields.get(3).is_some_and(|options| options.split(',').any(|it| it == option))
        })?;
        Some(Path::new(found.get(1)?).to_owned())
    };
    let is_memory = |controllers: &str| controllers.split(',').any(|controller| controller == "memory");
    if let Some((mount, group)) = mount("cgroup", "memory").zip(group(&is_memory)) {
        return Some((Version::V1, mount, group));
    }
    let (mount, group) = mount("cgroup2", "rw").zip(group(&|controllers| controllers.is_empty()))?;
    Some((Version::V2, mount, group))
}

fn number(text: &str) -> u64 {
    text.trim().parse().expect("a number of bytes")
}
