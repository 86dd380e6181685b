//! Pages of the admin endpoints, as an operator's tools fetch them.

use std::net::SocketAddr;
use std::process::Command;

/// Status, content type and body; `None` where nobody listens.
pub fn get(addr: SocketAddr, path: &str) -> Option<(u16, String, String)> {
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "5", "--write-out", "\n%{http_code} %{content_type}"])
        .arg(format!("http://{addr}{path}"))
        .output()
        .expect("curl");
    let text = String::from_utf8(output.stdout).expect("text");
    let (body, end) = text.rsplit_once('\n')?;
    let (status, content_type) = end.split_once(' ')?;
    Some((status.parse().ok().filter(|status| *status != 0)?, content_type.to_owned(), body.to_owned()))
}
