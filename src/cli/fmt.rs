//! `podzone fmt`: a Corefile, evenly written.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use super::args::FmtArgs;
use super::{EXIT_CONFIGURATION, EXIT_OK};
use crate::config;
use crate::corefile::{self, Source};

/// Formats a Corefile and prints it, writes it, or only tells whether that would change it.
pub(super) fn fmt(args: &FmtArgs) -> ExitCode {
    match try_fmt(args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(EXIT_CONFIGURATION)
        }
    }
}

fn try_fmt(args: &FmtArgs) -> anyhow::Result<u8> {
    let path = args.corefile();
    let source = config::read_source(&path)?;
    let formatted = corefile::format(&source).map_err(|error| anyhow::anyhow!("{error}"))?;
    // Both without a byte order mark, which may stay.
    let is_formatted = Source::new("", &formatted).text() == source.text();
    if args.check {
        if !is_formatted {
            eprintln!("{} is not formatted: podzone fmt -conf {0} -write does it", path.display());
        }
        return Ok(if is_formatted { EXIT_OK } else { EXIT_CONFIGURATION });
    }
    if !args.write {
        // Whoever reads only the beginning has read enough.
        let _ = std::io::stdout().lock().write_all(formatted.as_bytes());
    } else if path == Path::new("stdin") {
        anyhow::bail!("stdin cannot be written: without -write the formatted Corefile is printed");
    } else if !is_formatted {
        write(&path, &formatted).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(EXIT_OK)
}

/// Puts a whole new file in the place of another, with its permissions: whoever reads meanwhile sees one or the other.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    // What a link points at is changed, not the link.
    let path = path.canonicalize()?;
    let beside = path.with_extension(format!("podzone-{}", std::process::id()));
    let written = std::fs::write(&beside, text)
        .and_then(|()| std::fs::set_permissions(&beside, std::fs::metadata(&path)?.permissions()))
        .and_then(|()| std::fs::rename(&beside, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}
