//! NSD, with one zone.

use crate::server::Server;
use std::path::Path;

/// One process that serves, podzone's receive buffer, no limit on the rate of answers (Debian's build has one), and
/// answers as large as the client takes, as podzone without `bufsize`.
const NSD: &str = r#"
server:
  server-count: 1
  ip-address: 127.0.0.1@{port}
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  xfrdir: "{folder}"
  database: ""
  receive-buffer-size: 4194304
  minimal-responses: yes
  ipv4-edns-size: 4096
  rrl-ratelimit: 0
  tcp-count: 1000
remote-control:
  control-enable: no
zone:
  name: {zone}
  zonefile: zone
"#;

/// Starts a program that is NSD on a core, with a zone and the zone's file.
pub(crate) fn spawn(program: &Path, core: usize, zone: &str, file: &str) -> Server {
    Server::spawn("nsd", core, |command, folder, port| {
        let fields = [("{folder}", &*folder.to_string_lossy()), ("{port}", &port.to_string()), ("{zone}", zone)];
        let text = fields.iter().fold(NSD.to_owned(), |text, (field, value)| text.replace(field, value));
        std::fs::write(folder.join("nsd.conf"), text).expect("a configuration");
        std::fs::write(folder.join("zone"), file).expect("a zone file");
        command.arg(program).args(["-d", "-c", "nsd.conf"]);
    })
}
