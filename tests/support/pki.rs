//! A certificate authority for one control plane, made by the openssl command.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder of keys (`NAME.key`) and certificates (`NAME.crt`) under one authority (`ca.crt`).
pub struct Pki {
    folder: PathBuf,
}

impl Pki {
    /// Makes the authority.
    pub fn create(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let pki = Self { folder: folder.to_owned() };
        pki.key("ca");
        pki.openssl(&[
            "req",
            "-x509",
            "-new",
            "-key",
            "ca.key",
            "-subj",
            "/CN=test-ca",
            "-days",
            "2",
            "-out",
            "ca.crt",
        ]);
        pki
    }

    /// Makes `NAME.key`.
    pub fn key(&self, name: &str) -> PathBuf {
        let file = format!("{name}.key");
        self.openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &file]);
        self.folder.join(file)
    }

    /// Makes `NAME.key` and `NAME.crt` for a client, or for a server with these alternative names (`DNS:x,IP:y`).
    pub fn certificate(&self, name: &str, subject: &str, alternative_names: Option<&str>) {
        self.key(name);
        let (key, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
        self.openssl(&["req", "-new", "-key", &key, "-subj", subject, "-out", &request]);
        let extensions = format!("{name}.ext");
        let text = match alternative_names {
            Some(names) => format!("extendedKeyUsage=serverAuth\nsubjectAltName={names}\n"),
            None => "extendedKeyUsage=clientAuth\n".to_owned(),
        };
        std::fs::write(self.folder.join(&extensions), text).expect("extensions");
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            &extensions,
            "-out",
            &certificate,
        ]);
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(&self.folder)
            .output()
            .expect("the openssl command: run `make setup` (tests/peers/install)");
        assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
